#!/usr/bin/env bash
# Rent a GPU and serve Qwen3-VL on it: an OpenAI-compatible API that looks at pictures, and a chat page.
#
#   ./deploy_qwen3vl.sh --sandbox    try it all on this machine: no account, no GPU, no cost
#   ./deploy_qwen3vl.sh              rent a GPU (RUNPOD_API_KEY in .env), or find the pod that runs already
#   ./deploy_qwen3vl.sh --dry-run    show the requests and send nothing
set -eu
script=${BASH_SOURCE[0]}
case $script in */*) ;; *) script=./$script ;; esac
while [ -L "$script" ]; do
  target=$(PATH="${PATH:+$PATH:}/usr/bin:/bin" readlink "$script")
  case $target in /*) script=$target ;; *) script=${script%/*}/$target ;; esac
done
. "${script%/*}/lib/bootstrap.sh" "$script"
podkit deploy --model qwen3vl "$@"
