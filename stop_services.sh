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
docker=no native=no
case $mode in
    docker) docker=yes ;;
    native) native=yes ;;
    auto) # what is there, perhaps both
        if timeout 20 docker info >/dev/null 2>&1 && .venv/bin/python -m ops.containers present; then
            docker=yes
        fi
        if [[ $docker == no ]] || .venv/bin/python -m ops.native present; then
            native=yes
        fi
        ;;
esac
if [[ $docker == yes ]]; then
    .venv/bin/python -m ops.containers stop "${purge[@]}"
fi
if [[ $native == yes ]]; then
    .venv/bin/python -m ops.native stop "${purge[@]}"
fi
