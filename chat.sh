#!/usr/bin/env bash
# Ask the model of a running pod a question, with images if you like; the answer appears as it is written.
#
#   ./chat.sh "Who are you?"
#   ./chat.sh "What is the total on this invoice?" invoice.png
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do link=$(PATH=${PATH:-}:/usr/bin:/bin readlink "$script") && case $link in /*) script=$link ;; *) script=${script%"${script##*/}"}$link ;; esac done
case $script in */*) ;; *) script=./$script ;; esac
. "${script%/*}/lib/bootstrap.sh"
podkit chat "$@"
