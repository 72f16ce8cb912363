"""The suite's `.env` as the commands that change secrets write it: line by line, and never half."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values


class EnvFileError(RuntimeError):
    """`.env` is missing, or what it says is overruled: the message says what to do."""


@dataclass(frozen=True)
class EnvFile:
    """One `.env`."""

    path: Path

    def values(self) -> dict[str, str]:
        """What it says now, overruled by the caller's environment; empty means unset."""
        if not self.path.exists():
            raise EnvFileError(f"{self.path} is missing: put the suite's .env there")
        found = dotenv_values(self.path, interpolate=False)
        return {name: os.environ.get(name, value) for name, value in found.items() if value}

    def set(self, **changes: str | None) -> None:
        """Set variables, and take away those that are None; everything else stays as it is."""
        for name in changes:
            if name in os.environ:
                raise EnvFileError(f"{name} comes from the environment, which overrules {self.path.name}: unset it")
        lines = []
        left = dict(changes)
        for line in self.path.read_text().splitlines():
            name = line.partition("=")[0].strip()
            if name not in changes:
                lines.append(line)
            elif (value := left.pop(name, None)) is not None:
                lines.append(f"{name}={value}")
        lines += [f"{name}={value}" for name, value in left.items() if value is not None]
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self.path)

    def changed_at(self) -> float:
        """When it was last written, in unix seconds."""
        return self.path.stat().st_mtime
