# shellcheck shell=bash
# Finds or makes .venv in the checkout, then becomes podkit. Sourced by the scripts at the root, with their own real
# path as argument. Runs under bash 3.2 with BSD tools. Progress goes to stderr.
# Once .venv is there, a run starts no program but Python.

script=$1
root=$(CDPATH='' cd -- "${script%/*}" && pwd -P)
venv=$root/.venv
export PYTHONUTF8=1

die() {
  printf 'podkit: %s\n' "$1" >&2
  exit 2
}

# podkit COMMAND [OPTION...]: never returns.
podkit() {
  local extras=base word
  case ${PODKIT_SANDBOX:-} in 1 | true | yes | on) extras=base,sandbox ;; esac
  for word in "$@"; do
    case $word in
      --sandbox | sandbox) extras=base,sandbox ;;
      -h | --help) print_header ;;
    esac
  done
  case ${1:-} in fit | eval) extras=$extras,$1 ;; esac
  need "$extras"
  exec "$venv/bin/python" -P -m podkit "$@"
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
  fresh "$1" || install_into_venv "$1" || die "setting up $venv failed, see above; then run the same command again"
  rmdir "$root/.venv-setup"
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

take_turn() {
  local waited=0
  until mkdir "$root/.venv-setup" 2>/dev/null; do
    [ -w "$root" ] || die "cannot write to $root, where .venv belongs; make the folder writable"
    [ "$waited" -lt 600 ] || die "another set-up seems to be stuck; if none is running: rmdir '$root/.venv-setup'"
    [ "$waited" -gt 0 ] || printf 'podkit: another set-up is at work; waiting for it\n' >&2
    sleep 1
    waited=$((waited + 1))
  done
  trap 'rmdir "$root/.venv-setup" 2>/dev/null' EXIT
}

install_into_venv() {
  local extras=${1#base} uv='' python='' what
  what=.${extras:+[${extras#,}]}
  printf 'podkit: installing what it needs into .venv (%s); only once\n' "$1" >&2
  if uv=$(find_program works_as_uv uv); then
    made_here base || "$uv" venv --quiet --clear --python '>=3.11,<3.14' "$venv" || return
    (cd -- "$root" && "$uv" pip install --quiet --python "$venv/bin/python" -e "$what") || return
  elif python=$(find_program works_as_python python3.13 python3.12 python3.11 python3); then
    # One made by uv has no pip.
    { made_here base && "$venv/bin/python" -m pip --version >/dev/null 2>&1; } ||
      "$python" -m venv --clear "$venv" || return
    (cd -- "$root" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e "$what") || return
  else
    die "neither uv nor Python 3.11 to 3.13 with venv is here; install uv (https://docs.astral.sh/uv), or on Debian and Ubuntu: sudo apt install python3-venv"
  fi
  for what in ${1//,/ }; do
    printf '%s\n' "$root" >"$venv/.podkit-$what"
  done
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
