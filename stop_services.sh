#!/usr/bin/env bash
# Stops everything that ./start_services.sh started; the data stays. --purge deletes it too (--yes: unasked).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

mode=auto purge=()
for argument in "$@"; do
    case $argument in
        --native | --docker) mode=${argument#--} ;;
        --purge | --yes) purge+=("$argument") ;;
        *)
            echo "Usage: ./stop_services.sh [--native | --docker] [--purge [--yes]]" >&2
            [[ $argument == -h || $argument == --help ]]
            exit
            ;;
    esac
done
if [[ ! -x .venv/bin/python ]]; then
    echo "HeartGuard: .venv is missing: ./start_services.sh makes it. If something runs, run that first." >&2
    exit 1
fi
if [[ $mode == auto ]]; then
    mode=native
    if timeout 20 docker info >/dev/null 2>&1 && .venv/bin/python -m ops.containers present; then
        mode=docker
    fi
fi
if [[ $mode == docker ]]; then
    exec .venv/bin/python -m ops.containers stop "${purge[@]}"
fi
exec .venv/bin/python -m ops.native stop "${purge[@]}"
