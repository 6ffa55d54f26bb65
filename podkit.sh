#!/usr/bin/env bash
# Every other command of podkit: ./podkit.sh logs, ./podkit.sh env, ./podkit.sh volume create --size 100 ...
set -eu
script=${BASH_SOURCE[0]}
case $script in */*) ;; *) script=./$script ;; esac
while [ -L "$script" ]; do
  target=$(PATH="${PATH:+$PATH:}/usr/bin:/bin" readlink "$script")
  case $target in /*) script=$target ;; *) script=${script%/*}/$target ;; esac
done
. "${script%/*}/lib/bootstrap.sh" "$script"
podkit "$@"
