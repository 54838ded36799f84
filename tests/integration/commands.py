"""Run the commands as a user does, in a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# The demo with a smaller dataset and network, which train in seconds.
SMALL = [
    "dataset.source.cases=30",
    "dataset.source.height=208",
    "dataset.size=64",
    "model.width=2",
    "trainer.accelerator=cpu",
]


def command(name: str, *arguments: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m mammoseg.<name>` in `folder` and return the completed process, whatever its exit status."""
    return subprocess.run(
        [sys.executable, "-m", f"mammoseg.{name}", *arguments],
        cwd=folder,
        env={**os.environ, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1", **environment},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )


def succeed(name: str, *arguments: str, folder: Path) -> str:
    """Run a command that must exit with status 0; returns its standard output and error."""
    completed = command(name, *arguments, folder=folder)
    assert completed.returncode == 0, completed.stderr + completed.stdout
    return completed.stdout + completed.stderr
