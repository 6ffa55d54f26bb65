#!/bin/sh
# fetch.sh LIST STORE: brings each checkpoint of LIST (a line each: repository, revision, folder) into STORE, whole or not
# at all. A Job starts it again after a failure; it goes on with what has arrived.
set -eu
list=$1
store=$2
export HF_HOME="${TMPDIR:-/tmp}/hf" HF_HUB_DISABLE_PROGRESS_BARS=1
export HF_HUB_DISABLE_XET=1 # its downloads were seen to stand still forever; plain HTTPS resumes

while read -r repository revision folder; do
  if [ -f "$store/$folder/config.json" ]; then
    echo "there already: $folder"
    continue
  fi
  incoming=$store/.incoming-$folder
  hf download "$repository" --revision "$revision" --local-dir "$incoming" </dev/null
  if ! hf cache verify "$repository" --revision "$revision" --local-dir "$incoming" --fail-on-missing-files </dev/null; then
    rm -rf "$incoming"
    echo "not the pinned files: $folder" >&2
    exit 1
  fi
  mv "$incoming" "$store/$folder"
  echo "fetched: $folder"
done <"$list"
