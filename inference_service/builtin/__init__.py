"""The built-in models by name, and the hash that identifies their code."""

import hashlib
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

NAMES = ("news2", "vital_limits", "ecg_rhythm")


def load(name: str) -> ModuleType:
    """The module with `MODEL` and `infer`; imported when first used. Raises KeyError for an unknown name."""
    if name not in NAMES:
        raise KeyError(name)
    return import_module(f"{__name__}.{name}")


@cache
def digest() -> str:
    """SHA-256 of the source of the built-in models and of the signal processing they stand on."""
    root = Path(__file__).parents[1]
    files = sorted([*root.glob("signals/*.py"), *root.glob("builtin/*.py")])
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes() + b"\0")
    return total.hexdigest()
