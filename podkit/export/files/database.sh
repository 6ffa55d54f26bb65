#!/bin/sh
# database.sh save: the gateway's database into BACKUPS/database, under the time; the newest seven stay.
# database.sh restore: the newest of them, or of those that begin with BACKUP, into a database that is empty.
set -eu
folder=$BACKUPS/database
mkdir -p "$folder"

# saved PATTERN: what is there under such a name, the oldest first.
saved() {
  find "$folder" -name "$1" ! -name '*.part' | sort
}

case $1 in
  save)
    name=$(date -u +%Y%m%dT%H%M%SZ)
    podkit-gateway backup "$folder/$name"
    saved '2*' | sort -r | tail -n +8 | while read -r old; do rm "$old"; done
    echo "saved: database $name"
    ;;
  restore)
    newest=$(saved "${BACKUP:-2}*" | tail -n 1)
    if [ -z "$newest" ]; then
      echo "nothing is saved in $folder" >&2
      exit 1
    fi
    podkit-gateway restore "$newest"
    echo "restored: database ${newest##*/}, with these keys:"
    podkit-gateway keys list
    ;;
esac
