# shellcheck shell=bash
# Finds or makes .venv in the checkout, then becomes podkit. Sourced by the scripts at the root. Runs under bash 3.2 with BSD tools. Progress goes to stderr.
# Once .venv is there, a run starts no program but Python.

set -eu
script=${BASH_SOURCE[1]}
root=$(CDPATH='' cd -- "${BASH_SOURCE[0]%/*}/.." && pwd -P)
venv=$root/.venv
turn=$root/.venv-setup
log=$root/.venv-setup.log
export PYTHONUTF8=1
export UV_SYSTEM_CERTS=1 # as pip does: a company's own certificate is there
# requests and boto3 look for it in the other place alone.
if [ -n "${SSL_CERT_FILE:-}" ]; then
  export REQUESTS_CA_BUNDLE="${REQUESTS_CA_BUNDLE:-$SSL_CERT_FILE}"
fi

die() {
  printf 'podkit: %s\n' "$1" >&2
  exit 2
}

# podkit COMMAND [OPTION...]: never returns.
podkit() {
  local extras=base word of_command=''
  if [ -n "${_PODKIT_COMPLETE:-}" ]; then # Tab: nothing is installed for it
    fresh base || exit 0
    exec "$venv/bin/python" -P -m podkit
  fi
  case ${PODKIT_SANDBOX:-$(sandbox_of_env_file)} in 1 | true | yes | on) extras=base,sandbox ;; esac
  case ${1:-} in
    fit) [ $# -eq 1 ] || of_command=,fit ;; # alone it is told what is missing
    eval | export | gateway) of_command=,$1 ;;
    serverless | sls)
      of_command=,serverless
      [ "${2:-}" != eval ] || of_command=,serverless,eval
      ;;
    model) of_command=,fit,s3 ;;
    volume) case ${2:-} in put | get | ls) of_command=,s3 ;; esac ;;
  esac
  for word in "$@"; do
    case $word in
      --sandbox | sandbox) extras=base,sandbox ;;
      --workspace | --workspace=*) of_command=,s3 ;;
      -h | --help)
        print_header
        of_command='' # help needs nothing more
        ;;
    esac
  done
  need "$extras$of_command"
  exec "$venv/bin/python" -P -m podkit "$@"
}

# PODKIT_SANDBOX as .env has it. Only podkit itself reads settings; this is about what has to be installed.
sandbox_of_env_file() {
  local line
  [ -r "$root/.env" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in PODKIT_SANDBOX=*) printf '%s' "${line#*=}" ;; esac
  done <"$root/.env"
}

# The comment at the top of the script is its help; podkit's options follow.
print_header() {
  local line
  while IFS= read -r line; do
    case $line in
      '#!'*) ;;
      '# '*) printf '%s\n' "${line#??}" ;;
      '#') printf '\n' ;;
      *) break ;;
    esac
  done <"$script"
  printf '\n'
}

# need base[,EXTRA...]: has .venv hold podkit and these optional dependencies of pyproject.toml. Each has a stamp, which
# names the checkout it was made for and is newer than pyproject.toml.
need() {
  fresh "$1" && return
  take_turn
  fresh "$1" || install_into_venv "$1" || failed_setup
  leave_turn
  trap - EXIT INT TERM HUP
}

fresh() {
  local extra
  for extra in ${1//,/ }; do
    [ "$venv/.podkit-$extra" -nt "$root/pyproject.toml" ] || return
    made_here "$extra" || return
  done
}

# A checkout that was moved or copied with its .venv needs a new one: the old one points to the old place.
made_here() {
  local made_for=''
  [ -x "$venv/bin/python" ] && [ -f "$venv/.podkit-$1" ] && IFS= read -r made_for <"$venv/.podkit-$1" &&
    [ "$made_for" = "$root" ]
}

# One set-up at a time. The turn is a link that names its process, so that one that was killed can be told from one that
# is at work; making a link either succeeds or finds the other.
take_turn() {
  local waited=0 holder
  [ ! -d "$turn" ] || rmdir "$turn" 2>/dev/null || true
  until ln -s $$ "$turn" 2>/dev/null; do
    holder=$(readlink "$turn") || holder=''
    if [ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null; then
      take_over && break
    elif [ -z "$holder" ]; then
      [ -w "$root" ] || die "cannot write to $root, where .venv belongs; make the folder writable"
    fi
    [ "$waited" -lt 600 ] || die "another set-up seems to be stuck; end process $holder, then run the same command again"
    [ "$waited" -gt 0 ] || printf 'podkit: another set-up is at work; waiting for it\n' >&2
    sleep 1
    waited=$((waited + 1))
  done
  trap leave_turn EXIT
  trap 'interrupted 130' INT
  trap 'interrupted 143' TERM
  trap 'interrupted 129' HUP
}

# The link of a process that is gone becomes ours; of several that try, the last one to write has it.
take_over() {
  ln -s $$ "$turn.$$" 2>/dev/null && mv -f "$turn.$$" "$turn" || return
  sleep 1
  [ "$(readlink "$turn")" = "$$" ]
}

leave_turn() {
  [ "$(readlink "$turn" 2>/dev/null)" != "$$" ] || rm -f "$turn"
}

interrupted() {
  trap - INT TERM HUP
  [ -z "$installer" ] || kill "$installer" 2>/dev/null || true
  printf 'podkit: setting up was interrupted; the same command goes on\n' >&2
  exit "$1"
}

failed_setup() {
  [ ! -s "$log" ] || tail -n 20 "$log" >&2
  die "setting up $venv failed, see above ($log has it all); then run the same command again"
}

installer=''

# quietly WORD COMMAND...: runs a program of the set-up; its output goes to the log, and WORD to a person who waits.
quietly() {
  local word=$1 seconds=0
  shift
  "$@" >>"$log" 2>&1 &
  installer=$!
  while kill -0 "$installer" 2>/dev/null; do
    [ "$seconds" -eq 0 ] || [ $((seconds % 5)) -ne 0 ] ||
      printf 'podkit: still %s, %s s\n' "$word" "$seconds" >&2
    sleep 1
    seconds=$((seconds + 1))
  done
  wait "$installer" || return
  installer=''
}

install_into_venv() {
  local extras=${1#base} uv='' python='' what
  what=$root${extras:+[${extras#,}]}
  printf 'podkit: installing what it needs into .venv (%s); only once\n' "$1" >&2
  : >"$log" || die "cannot write to $root, where .venv belongs; make the folder writable"
  if uv=$(find_program works_as_uv uv); then
    made_here base || quietly 'making .venv' "$uv" venv --clear --python '>=3.11,<3.14' "$venv" || return
    quietly 'downloading and installing' "$uv" pip install --python "$venv/bin/python" -e "$what" || return
  elif python=$(find_program works_as_python python3.13 python3.12 python3.11 python3); then
    # One made by uv has no pip.
    { made_here base && "$venv/bin/python" -m pip --version >/dev/null 2>&1; } ||
      quietly 'making .venv' "$python" -m venv --clear "$venv" || return
    quietly 'downloading and installing' \
      "$venv/bin/python" -m pip install --disable-pip-version-check -e "$what" || return
  else
    die "neither uv nor Python 3.11 to 3.13 with venv is here; install uv (https://docs.astral.sh/uv), or on Debian and Ubuntu: sudo apt install python3-venv"
  fi
  for what in ${1//,/ }; do
    printf '%s\n' "$root" >"$venv/.podkit-$what"
  done
  rm -f "$log"
}

# find_program TEST NAME...: prints the first NAME, in PATH or where installers put it, that passes TEST.
find_program() {
  local test=$1 name folder
  shift
  for name in "$@"; do
    for folder in '' "${HOME:-}/.local/bin/" "${HOME:-}/.cargo/bin/" /opt/homebrew/bin/ /usr/local/bin/ /usr/bin/; do
      if "$test" "$folder$name" >/dev/null 2>&1; then
        printf '%s\n' "$folder$name"
        return
      fi
    done
  done
  return 1
}

works_as_uv() { "$1" --version; }

works_as_python() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
}
