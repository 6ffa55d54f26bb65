#!/usr/bin/env bash
# Run the whole test suite, four at a time, with what it needs. Arguments go to pytest: ./run_tests.sh -k sandbox
# --fast, first, leaves out big real parts; --core what is not about one pod, the browser and the OCR toolkit. -n 0 runs one at a time.
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do link=$(PATH=${PATH:-}:/usr/bin:/bin readlink "$script") && case $link in /*) script=$link ;; *) script=${script%"${script##*/}"}$link ;; esac done
case $script in */*) ;; *) script=./$script ;; esac
. "${script%/*}/lib/bootstrap.sh"
need base,sandbox,fit,eval,gateway,s3,dev
cd -- "$root"
if [ "${1:-}" = --fast ]; then
  shift
  set -- -m 'not slow' "$@"
fi
# Each worker would rewrite the asserts of every test file again, were they not kept.
exec env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -m pytest -n 4 --dist loadgroup --no-loadscope-reorder "$@"
