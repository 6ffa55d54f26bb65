#!/usr/bin/env bash
# Process 1 of the pod: the text of this file is the start command. It unpacks startup/, keeps the
# watchdog alive and runs the model's script. The platform restarts a container whose process 1 exits,
# and bills for it, so after a failure this never exits by itself: it asks for the pod's end until it comes.
set -u
folder=${PODKIT_LOCAL:-/opt/podkit}
boot='' lost=''

say() { printf 'podkit: %s\n' "$*"; }

fatal() { say "fatal step=start reason=$1 fix=$2"; }

# Ends boot.py within 10 seconds: its own shutdown takes 9 at most.
stop_boot() {
  [[ -n $boot ]] || return 0
  kill -TERM "$boot" 2>/dev/null
  for _ in {1..100}; do
    kill -0 "$boot" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$boot" 2>/dev/null
}

on_term() {
  say 'SIGTERM: shutting down'
  stop_boot
  exit 143
}

# A dead watchdog is started again; one that does not stay up is a failure, not a pod without limits.
keep_watchdog() {
  local deaths=0
  while ((deaths++ < 5)); do
    python3 "$folder/startup/watchdog.py"
    say "watchdog ended with status $?: death $deaths of 5"
    sleep 1
  done
  kill -USR1 $$
}

unpack() {
  mkdir -p "$folder" || return
  date +%s >"$folder/started" || return
  printf '%s' "${STARTUP_B64:-}" | base64 -d | tar -xzf - -C "$folder"
}

# One request to end the pod, without python: the key goes to curl on stdin, never into its arguments.
terminate_with_curl() {
  printf 'header = "Authorization: Bearer %s"\n' "${RUNPOD_API_KEY:-}" |
    curl -sS -m 30 -o /dev/null -w 'podkit: terminate: HTTP %{http_code}\n' -A podkit-pod/1 -K - \
      -X POST -H 'Content-Type: application/json' -d '{"action":"terminate"}' \
      "${RUNPOD_API_URL:-https://api.runpod.io/v2}/pods/${RUNPOD_POD_ID:-unknown}/action"
}

end_pod() {
  local delay=5
  while :; do
    python3 "$folder/startup/watchdog.py" terminate || terminate_with_curl
    sleep "$delay"
    delay=$((delay < 30 ? delay * 2 : 60))
  done
}

trap on_term TERM
trap 'lost=yes' USR1
set -o pipefail
if ! command -v python3 >/dev/null; then
  fatal 'python3 is missing' 'use an image with Python 3.11 or later'
elif ! unpack; then
  fatal 'STARTUP_B64 cannot be unpacked' 'deploy again with an unchanged podkit'
elif [[ ! -f $folder/startup/startup_${PODKIT_MODEL:-}.sh ]]; then
  fatal "no script for the model '${PODKIT_MODEL:-}'" 'set PODKIT_MODEL to a model that podkit ships'
else
  unset STARTUP_B64
  keep_watchdog &
  bash "$folder/startup/startup_$PODKIT_MODEL.sh" &
  boot=$!
  wait "$boot"
  status=$?
  if [[ -n $lost ]]; then
    fatal 'the watchdog does not stay up' 'read the lines above; deploy again'
    stop_boot
  elif ((status != 70)); then # 70: boot.py has said why
    fatal "the model's script ended with status $status" 'read the lines above'
  fi
fi
unset STARTUP_B64
boot=''
sleep "${PODKIT_GRACE_SECONDS:-120}" &
wait $!
end_pod & # in the background: only so is SIGTERM acted on at once
wait $!
