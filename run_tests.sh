#!/usr/bin/env bash
# Run the whole test suite; sets up what it needs. Arguments go to pytest: ./run_tests.sh -k sandbox
set -eu
script=${BASH_SOURCE[0]}
case $script in */*) ;; *) script=./$script ;; esac
while [ -L "$script" ]; do
  target=$(PATH="${PATH:+$PATH:}/usr/bin:/bin" readlink "$script")
  case $target in /*) script=$target ;; *) script=${script%/*}/$target ;; esac
done
. "${script%/*}/lib/bootstrap.sh" "$script"
need base,sandbox,fit,eval,gateway,dev
cd -- "$root"
exec "$venv/bin/python" -m pytest "$@"
