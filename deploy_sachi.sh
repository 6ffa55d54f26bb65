#!/usr/bin/env bash
# Rent a GPU and serve BIA Mistral 7B Sachi on it, which translates French and Mooré as it is told, with a chat page.
#
#   ./deploy_sachi.sh --sandbox    try it all on this machine: no account, no GPU, no cost
#   ./deploy_sachi.sh              rent a GPU (RUNPOD_API_KEY in .env), or find the pod that runs already
#   ./deploy_sachi.sh --dry-run    show the requests and send nothing
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do link=$(PATH=${PATH:-}:/usr/bin:/bin readlink "$script") && case $link in /*) script=$link ;; *) script=${script%"${script##*/}"}$link ;; esac done
case $script in */*) ;; *) script=./$script ;; esac
. "${script%/*}/lib/bootstrap.sh"
podkit deploy --model sachi "$@"
