#!/usr/bin/env bash
# Makes a backup of the running suite: PostgreSQL (one file per schema, all of one moment), time series, audit heads,
# a list of the media files and, where the object store is ours, the files themselves. --help tells the options.
#
#   ops/backup.sh --to /mnt/backups --keep 14         BACKUP_KEY_FILE=/etc/heartguard/backup.key seals it (GnuPG)
#   ops/backup.sh --list [--to FOLDER]                 which there are, and whether their files are whole
#
# It holds no secret of .env unless --with-env is said. Keep .env, or at least its keys, somewhere else as well.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=.venv/bin/python
if [[ ! -x $python ]]; then
    echo "HeartGuard: .venv is missing: ./start_services.sh --prepare-only makes it." >&2
    exit 1
fi
if [[ ${1:-} == --list ]]; then
    exec "$python" -m ops.backups list "${@:2}"
fi
exec "$python" -m ops.backups make "$@"
