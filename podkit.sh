#!/usr/bin/env bash
# Every other command of podkit: ./podkit.sh logs, ./podkit.sh env, ./podkit.sh volume create --size 100 ...
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do link=$(PATH=${PATH:-}:/usr/bin:/bin readlink "$script") && case $link in /*) script=$link ;; *) script=${script%"${script##*/}"}$link ;; esac done
case $script in */*) ;; *) script=./$script ;; esac
. "${script%/*}/lib/bootstrap.sh"
podkit "$@"
