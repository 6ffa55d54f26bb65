#!/usr/bin/env bash
# Process 1 of the pod: the text of this file is the start command. It unpacks startup/, starts the
# watchdog and runs the model's script. The platform restarts a container whose process 1 exits,
# and bills for it forever. So this never exits by itself after a failure: it asks for the pod's end
# until that comes.
set -uo pipefail
folder=${PODKIT_LOCAL:-/opt/podkit}
boot=''
lost=''

fatal() {
  printf 'podkit: fatal step=start reason=%s fix=%s\n' "$1" "$2"
}

# With Python: the image may lack xz. Python 3.11.2, as in Debian 12, has no filter yet.
unpack() {
  mkdir -p "$folder" && base64 -d <<<"${STARTUP_B64:-}" | python3 -c '
import sys, tarfile
archive = tarfile.open(fileobj=sys.stdin.buffer, mode="r|xz")
archive.extraction_filter = getattr(tarfile, "data_filter", None)
archive.extractall(sys.argv[1])' "$folder"
}

# Without its limits no pod may run: a watchdog that ends is a failure.
watchdog() {
  env -u HF_TOKEN -u WEBUI_ADMIN_EMAIL -u WEBUI_ADMIN_PASSWORD -u WEBUI_SECRET_KEY \
    -u PODKIT_S3_ACCESS_KEY -u PODKIT_S3_SECRET_KEY -u PODKIT_S3_SESSION_TOKEN \
    python3 "$folder/startup/watchdog.py" "$(date +%s)" || kill -USR1 $$
}

# Returns when the boot has ended, and says why if it could not do so itself.
run_model() {
  env -u RUNPOD_API_KEY bash "$folder/startup/startup_${PODKIT_MODEL:-}.sh" &
  boot=$!
  [[ -n $lost ]] || wait "$boot"
  local status=$?
  if [[ -n $lost ]]; then
    fatal 'the watchdog died' 'read the lines above; deploy again'
  elif ((status == 71)); then # the queue is done: nobody need look at the log before the end
    PODKIT_GRACE_SECONDS=0
  elif ((status != 70)); then # 70: the boot has said why
    fatal "the script of model '${PODKIT_MODEL:-}' ended with status $status" 'read the lines above'
  fi
}

# Ends the boot within 10 seconds: its own shutdown takes 9 at most.
stop_boot() {
  kill -TERM "$boot" 2>/dev/null
  for _ in {1..100}; do
    kill -0 "$boot" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$boot"
}

# For a pod where Python cannot run. The key goes to curl on stdin, never into its arguments; curl
# follows no redirect.
ask_with_curl() {
  local road=$1
  shift
  printf 'header = "Authorization: Bearer %s"\n' "${RUNPOD_API_KEY:-}" |
    curl -sS -m 30 -o /dev/null -w "podkit: $road: HTTP %{http_code}\n" -A podkit-pod/1 -K - "$@"
}

end_with_curl() {
  local pod=${RUNPOD_API_URL:-https://api.runpod.io/v2}/pods/${RUNPOD_POD_ID:-unknown}
  local json='Content-Type: application/json'
  ask_with_curl terminate -H "$json" -d '{"action":"terminate"}' "$pod/action"
  ask_with_curl delete -X DELETE "$pod"
}

end_pod() {
  local delay=5
  while :; do
    python3 "$folder/startup/ending.py" # returns only if it cannot run
    end_with_curl
    sleep "$delay"
    delay=$((delay < 30 ? delay * 2 : 60))
  done
}

trap 'stop_boot; exit 143' TERM
trap 'lost=yes' USR1
if unpack; then
  unset STARTUP_B64
  watchdog &
  run_model
else
  fatal 'STARTUP_B64 cannot be unpacked' 'deploy again with an unchanged podkit'
fi
stop_boot
trap '' USR1 # the watchdog has nothing more to say: process 1 must not exit
sleep "${PODKIT_GRACE_SECONDS:-120}" &
wait $!
end_pod & # in the background: only then is SIGTERM acted on at once
wait $!
