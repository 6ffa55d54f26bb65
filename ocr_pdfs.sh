#!/usr/bin/env bash
# Turn PDFs into Markdown with OLMoCR: finds the pod that serves it, reads every page, goes on where it stopped.
set -eu
script=${BASH_SOURCE[0]}
case $script in */*) ;; *) script=./$script ;; esac
while [ -L "$script" ]; do
  target=$(PATH="${PATH:+$PATH:}/usr/bin:/bin" readlink "$script")
  case $target in /*) script=$target ;; *) script=${script%/*}/$target ;; esac
done
. "${script%/*}/lib/bootstrap.sh" "$script"
podkit ocr "$@"
