#!/usr/bin/env bash
# End pods by id, by name, or by the start of an id; returns once the provider confirms it.
set -eu
script=${BASH_SOURCE[0]}
case $script in */*) ;; *) script=./$script ;; esac
while [ -L "$script" ]; do
  target=$(PATH="${PATH:+$PATH:}/usr/bin:/bin" readlink "$script")
  case $target in /*) script=$target ;; *) script=${script%/*}/$target ;; esac
done
. "${script%/*}/lib/bootstrap.sh" "$script"
podkit stop "$@"
