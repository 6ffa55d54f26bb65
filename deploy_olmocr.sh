#!/usr/bin/env bash
# Rent a GPU and serve olmOCR on it: an OpenAI-compatible API that reads documents, and a chat page.
#
#   ./deploy_olmocr.sh --sandbox     try it all on this machine: no account, no GPU, no cost
#   ./deploy_olmocr.sh               rent a GPU (RUNPOD_API_KEY in .env), or find the pod that runs already
#   ./deploy_olmocr.sh --dry-run     show the requests and send nothing
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do link=$(PATH=${PATH:-}:/usr/bin:/bin readlink "$script") && case $link in /*) script=$link ;; *) script=${script%"${script##*/}"}$link ;; esac done
case $script in */*) ;; *) script=./$script ;; esac
. "${script%/*}/lib/bootstrap.sh"
podkit deploy --model olmocr "$@"
