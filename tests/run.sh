#!/usr/bin/env bash
# Runs every test on real servers that it starts itself on private ports. `--long` adds the long soak, crash and fuzz runs.
# Other arguments go to pytest: `tests/run.sh tests/patient_service -k xml`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${1:-} == --long ]]; then
  export HEARTGUARD_LONG=1
  shift
fi

./start_services.sh --prepare-only

venv=.venv/bin
stamp=.venv/.tests-installed
wanted=$(cat ops/constraints.txt ./*/requirements*.txt | sha256sum)
if [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]]; then
  echo "Installing the test tools"
  requirements=()
  for file in ./*/requirements.txt; do requirements+=(-r "$file"); done
  "$venv/pip" install --quiet --disable-pip-version-check "${requirements[@]}"
  printf '%s' "$wanted" >"$stamp"
fi

mkdir -p build
if (($#)); then
  exec "$venv/python" -m pytest "$@"
fi

echo "Lint, types, contracts"
"$venv/ruff" check .
"$venv/ruff" format --check .
"$venv/mypy"
"$venv/python" -m common.contracts --check

packages=(common gateway ops ./*_service)
coverage=()
for package in "${packages[@]}"; do coverage+=("--cov=${package#./}"); done
"$venv/python" -m pytest "${coverage[@]}" --cov-report= tests

echo
echo "Coverage per service"
for package in "${packages[@]}"; do
  name=${package#./}
  total=$("$venv/coverage" report --include="$name/*" --format=total 2>/dev/null || echo 0)
  printf '  %-24s %3s %%\n' "$name" "$total"
done
