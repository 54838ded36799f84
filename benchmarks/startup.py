"""Start-up time of commands in new processes, compared with that of the required imports.

python benchmarks/startup.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 5
BARE = "import torch, lightning"
# The process ends after the first training step.
FIRST_STEP = """
import os, sys, torch
from mammoseg import train
from mammoseg.segmenter import Segmenter
def first(*_):
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    os._exit(0)
Segmenter.on_train_batch_end = first
train.main()
"""
SMALL = ["dataset.source.cases=30", "dataset.source.height=208", "dataset.size=64", "model.width=4"]


def seconds(arguments: list[str], folder: Path) -> float:
    """Return the run time of Python with these arguments in seconds."""
    started = time.perf_counter()
    completed = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    return time.perf_counter() - started


def main() -> None:
    """Run the benchmark."""
    os.environ["WANDB_MODE"] = "offline"
    commands = {
        "`import torch, lightning` and nothing else": ["-c", BARE],
        "`mammoseg.train --help`": ["-m", "mammoseg.train", "--help"],
        "start to the end of the first training step (width 4, 64x64), warm store, logger=csv": [
            "-c",
            FIRST_STEP,
            *SMALL,
            "logger=csv",
        ],
        "the same with the default logger, W&B offline": ["-c", FIRST_STEP, *SMALL],
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        seconds(["-m", "mammoseg.prepare", *SMALL[:3]], folder)
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(REPEATS + 1):  # the first round warms the disk's cache
            for name, arguments in commands.items():
                taken[name].append(seconds(arguments, folder))
    medians = {name: statistics.median(times[1:]) for name, times in taken.items()}
    bare = next(iter(medians.values()))
    print(f"Median of {REPEATS}, taken in turn.\n")
    print("| what | seconds | times the bare imports |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:.2f} | {median / bare:.2f} |")


if __name__ == "__main__":
    main()
