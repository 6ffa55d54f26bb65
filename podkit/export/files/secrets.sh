#!/usr/bin/env bash
# secrets.sh DATABASE_URL_FILE ADMIN_EMAIL: makes the Secrets that are not there yet, of random values.
# DATABASE_URL_FILE holds one line: postgresql+asyncpg://USER:PASSWORD@HOST:5432/DATABASE
# No value is in an argument, where every user of this machine could read it.
set -euo pipefail
umask 077
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

has() {
  kubectl -n podkit get secret "$1" >/dev/null 2>&1
}

# make NAME: a Secret of the files that stand in the folder of that name.
make() {
  kubectl -n podkit create secret generic "$1" --from-file="$folder/$1"
}

# put SECRET KEY: its value, from standard input, without an end of line.
put() {
  mkdir -p "$folder/$1"
  tr -d '\n' >"$folder/$1/$2"
}

random() {
  openssl rand -hex 32
}

[[ $# == 2 ]] || {
  sed -n '2,4s/^# //p' "$0" >&2
  exit 2
}
has gateway || {
  put gateway database-url <"$1"
  { printf 'k1:' && random; } | put gateway token-keys
  make gateway
}
has engine || {
  random | put engine key
  make engine
}
has page || {
  printf '%s' "$2" | put page admin-email
  random | put page admin-password
  random | put page secret-key
  make page
}
