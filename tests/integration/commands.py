"""The commands as a user calls them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Small enough for a laptop's minute: the path is the demo's, the network is not.
SMALL = [
    "dataset.source.cases=30",
    "dataset.source.height=208",
    "dataset.size=64",
    "model.width=2",
    "trainer.accelerator=cpu",
]


def command(name: str, *arguments: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
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
    done = command(name, *arguments, folder=folder)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr
