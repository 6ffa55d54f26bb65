#!/usr/bin/env bash
# Show the account's pods: what runs, what it costs per hour, where it is reached, when it ends itself.
set -eu
script=${BASH_SOURCE[0]}
case $script in */*) ;; *) script=./$script ;; esac
while [ -L "$script" ]; do
  target=$(PATH="${PATH:+$PATH:}/usr/bin:/bin" readlink "$script")
  case $target in /*) script=$target ;; *) script=${script%/*}/$target ;; esac
done
. "${script%/*}/lib/bootstrap.sh" "$script"
podkit list "$@"
