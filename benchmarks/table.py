"""The paper's Table 1 by packing jobs onto one device, against running them one after another.

python benchmarks/table.py          the demo's network and few epochs, for a CPU or a first look
python benchmarks/table.py full     the full AU-Net at 256x256, two epochs of each method's first fold: for a GPU
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

SMALL = ["width=8", "dataset.size=128", "epochs=4", "dataset.source.cases=60", "dataset.source.height=416"]
FULL = ["width=64", "dataset.size=256", "epochs=2", "trainer.precision=bf16-mixed", "dataset.source.cases=120"]
JOBS = {"cpu": len(os.sched_getaffinity(0)), "cuda": 4}


@contextmanager
def utilisation() -> Iterator[list[float]]:
    """Samples of the GPU's utilisation in %, each half second; none without a GPU."""
    samples: list[float] = []
    over = threading.Event()

    def sample() -> None:
        ask = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not over.wait(0.5):
            said = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.split()
            samples.extend(float(value) for value in said[:1])

    thread = threading.Thread(target=sample) if shutil.which("nvidia-smi") else None
    if thread is not None:
        thread.start()
    try:
        yield samples
    finally:
        over.set()
        if thread is not None:
            thread.join()


def table(settings: list[str], name: str, place: Path, **environment: str) -> tuple[float, float]:
    """Seconds of the sweep, and the GPU's mean utilisation."""
    command = [
        *(sys.executable, "-m", "mammoseg.train", "experiment=table1", "dataset=phantom", "split.fold=0"),
        *("logger=csv", f"hydra.sweep.dir={name}", *settings),
    ]
    with utilisation() as samples:
        began = time.perf_counter()
        done = subprocess.run(
            command, cwd=place, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    return seconds, sum(samples) / len(samples) if samples else float("nan")


def main() -> None:
    settings = FULL if "full" in sys.argv else SMALL
    device = "cuda" if torch.cuda.is_available() else "cpu"
    jobs = JOBS[device]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        # Drawn and prepared before the clock starts.
        first = [one for one in settings if one.startswith("dataset.")]
        subprocess.run([sys.executable, "-m", "mammoseg.prepare", *first], cwd=place, capture_output=True, check=True)
        one_thread = {"OMP_NUM_THREADS": "1"} if device == "cpu" else {}
        serial, busy = table(settings, "serial", place)
        packing = ["launcher=joblib", f"hydra.launcher.n_jobs={jobs}"]
        packed, busier = table([*settings, *packing], "packed", place, **one_thread)
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {jobs} cores"
    print(f"Six methods, one fold ({', '.join(settings)}) on {name}.\n")
    print("| how | seconds | GPU utilisation | speed |\n|---|---|---|---|")
    for what, seconds, use in (("one after another", serial, busy), (f"{jobs} at once, joblib", packed, busier)):
        told = "–" if use != use else f"{use:.0f} %"
        print(f"| {what} | {seconds:.0f} | {told} | {serial / seconds:.2f}x |")


if __name__ == "__main__":
    main()
