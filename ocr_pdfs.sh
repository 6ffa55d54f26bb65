#!/usr/bin/env bash
# Turn PDFs into Markdown with OLMoCR: finds the pod that serves it, reads every page, goes on where it stopped.
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do link=$(PATH=${PATH:-}:/usr/bin:/bin readlink "$script") && case $link in /*) script=$link ;; *) script=${script%"${script##*/}"}$link ;; esac done
case $script in */*) ;; *) script=./$script ;; esac
. "${script%/*}/lib/bootstrap.sh"
podkit ocr "$@"
