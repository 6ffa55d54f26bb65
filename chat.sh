#!/usr/bin/env bash
# Ask the model of a running pod a question, with images if you like; the answer appears as it is written.
#
#   ./chat.sh "Who are you?"
#   ./chat.sh "What is the total on this invoice?" invoice.png
set -eu
script=${BASH_SOURCE[0]}
case $script in */*) ;; *) script=./$script ;; esac
while [ -L "$script" ]; do
  target=$(PATH="${PATH:+$PATH:}/usr/bin:/bin" readlink "$script")
  case $target in /*) script=$target ;; *) script=${script%/*}/$target ;; esac
done
. "${script%/*}/lib/bootstrap.sh" "$script"
podkit chat "$@"
