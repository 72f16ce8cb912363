#!/usr/bin/env bash
# Checks a running suite: every service's health and one real read and write each, in JSON and in XML.
# Usage: ./validate_endpoints.sh [--host HOST] [--port PORT] [--user USER --password PASSWORD]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if [[ ! -x .venv/bin/python ]]; then
  echo "No .venv here: run ./start_services.sh once (it makes it), then this again." >&2
  exit 2
fi
exec .venv/bin/python -m ops.validate "$@"
