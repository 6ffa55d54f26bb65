#!/usr/bin/env bash
# Rent a GPU and serve Qwen3-VL on it: an OpenAI-compatible API that looks at pictures, and a chat page.
#
#   ./deploy_qwen3vl.sh --sandbox    try it all on this machine: no account, no GPU, no cost
#   ./deploy_qwen3vl.sh              rent a GPU (RUNPOD_API_KEY in .env), or find the pod that runs already
#   ./deploy_qwen3vl.sh --dry-run    show the requests and send nothing
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do link=$(PATH=${PATH:-}:/usr/bin:/bin readlink "$script") && case $link in /*) script=$link ;; *) script=${script%"${script##*/}"}$link ;; esac done
case $script in */*) ;; *) script=./$script ;; esac
. "${script%/*}/lib/bootstrap.sh"
podkit deploy --model qwen3vl "$@"
