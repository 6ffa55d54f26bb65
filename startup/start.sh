#!/usr/bin/env bash
# Process 1 of the pod: the text of this file is the start command. It unpacks startup/, starts the
# watchdog and runs the model's script. The platform restarts a container whose process 1 exits,
# and bills for it, so after a failure this never exits by itself: it asks for the pod's end until it comes.
set -uo pipefail
folder=${PODKIT_LOCAL:-/opt/podkit} boot='' lost=''

fatal() { printf 'podkit: fatal step=start reason=%s fix=%s\n' "$1" "$2"; }

# Ends boot.py within 10 seconds: its own shutdown takes 9 at most.
stop_boot() {
  kill -TERM "$boot" 2>/dev/null
  for _ in {1..100}; do
    kill -0 "$boot" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$boot"
}

trap 'stop_boot; exit 143' TERM
trap 'lost=yes' USR1
if ! mkdir -p "$folder" || ! base64 -d <<<"${STARTUP_B64:-}" | tar -xzf - -C "$folder"; then
  fatal 'STARTUP_B64 cannot be unpacked' 'deploy again with an unchanged podkit'
else
  unset STARTUP_B64
  { python3 "$folder/startup/watchdog.py" "$(date +%s)" || kill -USR1 $$; } & # no pod without its limits
  bash "$folder/startup/startup_${PODKIT_MODEL:-}.sh" &
  boot=$!
  wait "$boot"
  status=$?
  if [[ -n $lost ]]; then
    fatal 'the watchdog died' 'read the lines above; deploy again'
  elif ((status != 70)); then # 70: boot.py has said why
    fatal "the script of model '${PODKIT_MODEL:-}' ended with status $status" 'read the lines above'
  fi
fi
stop_boot
sleep "${PODKIT_GRACE_SECONDS:-120}" &
wait $!
delay=5
while :; do # with curl where Python cannot: the key goes to it on stdin, never into its arguments
  python3 "$folder/startup/watchdog.py" terminate ||
    printf 'header = "Authorization: Bearer %s"\n' "${RUNPOD_API_KEY:-}" |
    curl -sS -m 30 -o /dev/null -w 'podkit: terminate: HTTP %{http_code}\n' -A podkit-pod/1 -K - \
      -H 'Content-Type: application/json' -d '{"action":"terminate"}' \
      "${RUNPOD_API_URL:-https://api.runpod.io/v2}/pods/${RUNPOD_POD_ID:-unknown}/action"
  sleep "$delay"
  delay=$((delay < 30 ? delay * 2 : 60))
done & # in the background: only so is SIGTERM acted on at once
wait $!
