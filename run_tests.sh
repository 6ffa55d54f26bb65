#!/usr/bin/env bash
# Run the whole test suite; sets up what it needs. Arguments go to pytest: ./run_tests.sh -k sandbox
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do link=$(PATH=${PATH:-}:/usr/bin:/bin readlink "$script") && case $link in /*) script=$link ;; *) script=${script%"${script##*/}"}$link ;; esac done
case $script in */*) ;; *) script=./$script ;; esac
. "${script%/*}/lib/bootstrap.sh"
need base,sandbox,fit,eval,gateway,dev
cd -- "$root"
exec "$venv/bin/python" -m pytest "$@"
