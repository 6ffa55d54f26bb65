#!/usr/bin/env bash
# Deploy the translation service (French and Mooré) as a serverless endpoint: made once, then changed in place, so its id stays.
#
#   ./deploy_translation.sh --sandbox     try it all on this machine: no account, no cost, a stand-in for the model
#   ./deploy_translation.sh               deploy the image that runpod-config.json names (RUNPOD_API_KEY in .env)
#   ./deploy_translation.sh --dry-run     show the request and send nothing
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do link=$(PATH=${PATH:-}:/usr/bin:/bin readlink "$script") && case $link in /*) script=$link ;; *) script=${script%"${script##*/}"}$link ;; esac done
case $script in */*) ;; *) script=./$script ;; esac
. "${script%/*}/lib/bootstrap.sh"
podkit serverless deploy translation_endpoint "$@"
