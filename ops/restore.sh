#!/usr/bin/env bash
# Restores a backup of ops/backup.sh into an empty, stopped suite, verifies it, and leaves it stopped.
#
#   ./stop_services.sh && ops/restore.sh /mnt/backups && ./start_services.sh          its newest one
#
# On a new machine: put the old .env in place first (or make the backup with --with-env), run
# `./start_services.sh --prepare-only`, then this. It checks every file, restores beside what is there, counts rows,
# walks the audit chain, and only then puts it in place. --force puts aside what a suite in use holds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=.venv/bin/python
if [[ ! -x $python ]]; then
    echo "HeartGuard: .venv is missing: ./start_services.sh --prepare-only makes it." >&2
    exit 1
fi
exec "$python" -m ops.backups restore "$@"
