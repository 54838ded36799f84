"""Start-up time of commands in new processes, compared with importing torch and lightning only.

For `mammoseg.predict`, the time to predict one synthetic DICOM file of the size of an image of INbreast is included.

python benchmarks/startup.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORTS = "import torch, lightning"
# The process ends after the first training step.
FIRST_STEP = """
import os, runpy, torch
from mammoseg.segmenter import Segmenter
def first(*_):
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    os._exit(0)
Segmenter.on_train_batch_end = first
runpy.run_module("mammoseg.train", run_name="__main__", alter_sys=True)
"""
PHANTOMS = ["cases=8", "height=3328", "appearance=simple"]
SMALL = ["dataset.source.cases=30", "dataset.source.height=208", "dataset.size=64", "model.width=4"]


def seconds(arguments: list[str], folder: Path) -> float:
    """Return the run time of Python with these arguments in seconds."""
    started = time.perf_counter()
    completed = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    return time.perf_counter() - started


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="number of runs of each command")
    repeats = parser.parse_args().repeats
    os.environ["WANDB_MODE"] = "offline"
    commands = {
        "`import torch, lightning` only": ["-c", IMPORTS],
        "`mammoseg.train --help`": ["-m", "mammoseg.train", "--help"],
        "`mammoseg.train` up to the end of the first step (width 4, 64x64), prepared images, logger=csv": [
            "-c",
            FIRST_STEP,
            *SMALL,
            "logger=csv",
        ],
        "the same, logger=wandb offline": ["-c", FIRST_STEP, *SMALL],
        "`mammoseg.predict` of one DICOM file of 3328x2560 pixels with the default model": [
            *("-m", "mammoseg.predict", "input=film.dcm", "output=predictions")
        ],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds(["-m", "mammoseg.prepare", *SMALL[:3]], folder)
        seconds(["-m", "mammoseg.phantom", "root=films", "layout=inbreast", *PHANTOMS], folder)
        min((folder / "films" / "AllDICOMs").iterdir()).rename(folder / "film.dcm")
        times: dict[str, list[float]] = {label: [] for label in commands}
        for _ in range(repeats + 1):  # the first round fills the page cache
            for label, arguments in commands.items():
                times[label].append(seconds(arguments, folder))
                shutil.rmtree(folder / "predictions", ignore_errors=True)  # would not be predicted again
    medians = {label: statistics.median(elapsed[1:]) for label, elapsed in times.items()}
    baseline = next(iter(medians.values()))
    print(f"Medians of {repeats} interleaved runs.\n")
    print("| command | seconds | relative to the imports |\n|---|---|---|")
    for label, median in medians.items():
        print(f"| {label} | {median:.2f} | {median / baseline:.2f} |")


if __name__ == "__main__":
    main()
