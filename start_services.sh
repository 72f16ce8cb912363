#!/usr/bin/env bash
# Starts the whole of HeartGuard on this machine. Run it again at any time: what runs already is left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'TEXT'
Usage: ./start_services.sh [--native | --prepare-only | --docker [--profile NAME]... [--no-build] [--logs]]

Makes .env with fresh secrets if it is missing, starts PostgreSQL, Redis, RabbitMQ, a mail catcher, an object store,
the gateway, eleven services and their workers, waits until all are ready, and prints their addresses and the first
login.

  --native   on this machine itself (as root on Debian it installs what is missing)
  --docker   in containers with Docker Compose
  --prepare-only  install what the native runtime and the tests need, and start nothing
  (neither)  Docker Compose where a Docker engine answers, else --native
  --profile NAME  with containers: also start those of observability (Prometheus, Grafana) or influxdb
  --no-build      with containers: use the images as they are
  --logs          with containers: follow the logs once all are healthy

PYTHON=/path/to/python3   the Python (3.11 or newer) that .venv is made with
HEARTGUARD_STATE=/path    where data and logs live (default /var/lib/heartguard, or ~/.local/state/heartguard)
.env.example              explains every setting
TEXT
}

refuse() {
    echo "HeartGuard: $*" >&2
    exit 1
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Debian's own Python comes first: it is built with profile guidance and a fifth faster than most others.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
        if is_recent "$candidate"; then
            command -v "$candidate"
            return
        fi
        if [[ -n ${PYTHON:-} ]]; then
            refuse "PYTHON=$PYTHON is not Python 3.11 or newer."
        fi
    done
    refuse "Python 3.11 or newer is needed. Set PYTHON=/path/to/python3 if it is not on the PATH."
}

can_make_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

make_venv() {
    local python other
    python=$(find_python)
    if ! can_make_venv "$python" && [[ $python == /usr/bin/* && $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
        echo "Installing python3-venv by apt ..."
        apt-get -qq update >/dev/null 2>&1 || true # an old list may do
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv >/dev/null 2>&1 ||
            refuse "apt-get could not install python3-venv: try it by hand, or set PYTHON."
    fi
    if ! can_make_venv "$python"; then
        other=$(command -v python3 || true)
        if [[ -n $other ]] && is_recent "$other" && can_make_venv "$other"; then
            python=$other
        else
            refuse "$python cannot make virtual environments: install python3-venv, or set PYTHON."
        fi
    fi
    echo "Making .venv with $("$python" --version) ($python) ..."
    "$python" -m venv --clear .venv
}

# Installs the pinned packages once for each state of the requirement files.
install_packages() {
    local files=(ops/constraints.txt) stamp=.venv/heartguard-installed wanted log=.venv/pip.log pid seconds=0
    local requirements=() file
    for file in ops/native/requirements.txt common/requirements.txt gateway/requirements.txt *_service/requirements.txt; do
        [[ -f $file ]] && requirements+=(-r "$file") && files+=("$file")
    done
    wanted=$(cat "${files[@]}" | sha256sum)
    if [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        make_venv # missing, half made, or its Python is gone
    fi
    .venv/bin/python -m pip install --disable-pip-version-check -q "${requirements[@]}" >"$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        if [[ -t 1 ]]; then
            printf '\rInstalling Python packages ... %d s' "$seconds"
        elif ((seconds == 0)); then
            echo "Installing Python packages (a minute or two the first time) ..."
        fi
        sleep 1
        seconds=$((seconds + 1))
    done
    if [[ -t 1 ]]; then
        printf '\r\033[K'
    fi
    if ! wait "$pid"; then
        tail -n 15 "$log" >&2
        refuse "pip could not install the packages (all of its words: $log)."
    fi
    echo "Installed the Python packages in $seconds s."
    echo "$wanted" >"$stamp"
}

mode=auto container_options=()
while (($#)); do
    case $1 in
        --native) mode=native ;;
        --docker) mode=docker ;;
        --prepare-only) mode=install ;;
        --no-build | --logs) container_options+=("$1") ;;
        --profile)
            [[ -n ${2:-} ]] || refuse "--profile needs a name: observability or influxdb."
            container_options+=("$1" "$2")
            shift
            ;;
        --profile=*) container_options+=("$1") ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
    shift
done
if [[ $mode == auto ]]; then
    mode=native
    if timeout 20 docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then
        mode=docker
    fi
    echo "Starting with the runtime '$mode' (--native and --docker choose)."
fi
if [[ $mode != docker && ${#container_options[@]} -gt 0 ]]; then
    refuse "${container_options[0]} is for containers only: add --docker."
fi

# Two runs at once would install over each other; the lock ends with this script.
exec 9<start_services.sh
flock --nonblock 9 || refuse "another ./start_services.sh is under way here: wait for it."
install_packages
if [[ $mode == install ]]; then
    .venv/bin/python -m ops.native install 9>&-
elif [[ $mode == docker ]]; then
    .venv/bin/python -m ops.containers start "${container_options[@]}" 9>&-
else
    .venv/bin/python -m ops.native start 9>&-
fi
