"""`python -m ops.lock`: writes the hashed lock files that the images are built from.

Every version comes from `ops/constraints.txt`; uv adds the hashes of all files of that version, for any platform that
Python 3.11 runs on. `tests/architecture/test_containers.py` refuses locks that say otherwise than the constraints.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from common.config import ROOT

PYTHON = "3.11"  # of the base image
SERVICES_LOCK = ROOT / "ops" / "requirements.lock"
TESTS_LOCK = ROOT / "ops" / "requirements-tests.lock"


def requirement_files(*, tests: bool) -> list[str]:
    """What a lock is made of, relative to the root of the checkout."""
    services = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("*_service/requirements.txt"))
    chosen = ["common/requirements-tracing.txt", "gateway/requirements.txt", "ops/requirements.txt", *services]
    return [*chosen, "ops/native/requirements.txt", "tests/requirements.txt"] if tests else chosen


def main() -> int:
    """Write both locks; returns the exit status."""
    uv = shutil.which("uv", path=str(ROOT / ".venv" / "bin")) or shutil.which("uv")
    if uv is None:
        print("uv is missing: .venv/bin/python -m pip install -r tests/requirements.txt", file=sys.stderr)
        return 1
    for lock, tests in ((SERVICES_LOCK, False), (TESTS_LOCK, True)):
        command = [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header", "--no-annotate"]
        options = ["--python-version", PYTHON, "--constraints", "ops/constraints.txt", "--output-file", str(lock)]
        subprocess.run([*command, *options, *requirement_files(tests=tests)], cwd=ROOT, check=True)
        print(f"{lock.relative_to(ROOT)}: written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
