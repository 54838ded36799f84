"""Time of the paper's Table 1 with several concurrent jobs on one device, compared with sequential jobs.

python benchmarks/table.py          network of the demo and few epochs, for a CPU or a quick test
python benchmarks/table.py full     full AU-Net at 256x256, two epochs of the first fold of each method, for a GPU

Settings of mammoseg.train can be added, such as `width=4` or `method=au_net,density_asp`.
"""

from __future__ import annotations

import argparse
import math
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
    """Sample the utilisation of the GPU in percent every half second; no samples without a GPU."""
    samples: list[float] = []
    stop = threading.Event()

    def sample() -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not stop.wait(0.5):
            output = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
            samples.extend(float(value) for value in output[:1])

    thread = threading.Thread(target=sample) if shutil.which("nvidia-smi") else None
    if thread is not None:
        thread.start()
    try:
        yield samples
    finally:
        stop.set()
        if thread is not None:
            thread.join()


def run_sweep(settings: list[str], name: str, cwd: Path, **environment: str) -> tuple[float, float]:
    """Return the time of the sweep in seconds and the mean utilisation of the GPU."""
    command = [
        *(sys.executable, "-m", "mammoseg.train", "experiment=table1", "dataset=phantom", "split.fold=0"),
        *("logger=csv", f"hydra.sweep.dir={name}", *settings),
    ]
    with utilisation() as samples:
        started = time.perf_counter()
        completed = subprocess.run(
            command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - started
    assert completed.returncode == 0, completed.stderr
    return seconds, sum(samples) / len(samples) if samples else float("nan")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arguments", nargs="*", metavar="full | setting")
    arguments = parser.parse_args().arguments
    settings = [*(FULL if "full" in arguments else SMALL), *(name for name in arguments if name != "full")]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    jobs = JOBS[device]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Generate and preprocess the dataset before timing.
        dataset = [setting for setting in settings if setting.startswith("dataset.")]
        command = [sys.executable, "-m", "mammoseg.prepare", *dataset]
        prepared = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert prepared.returncode == 0, prepared.stderr
        one_thread = {"OMP_NUM_THREADS": "1"} if device == "cpu" else {}
        serial, serial_use = run_sweep(settings, "serial", folder)
        packing = ["launcher=joblib", f"hydra.launcher.n_jobs={jobs}"]
        packed, packed_use = run_sweep([*settings, *packing], "packed", folder, **one_thread)
    device_name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {jobs} cores"
    print(f"One run of each method on one fold ({', '.join(settings)}) on {device_name}.\n")
    print("| jobs | seconds | GPU utilisation | speed-up |\n|---|---|---|---|")
    for label, seconds, gpu_use in (
        ("sequential", serial, serial_use),
        (f"{jobs} concurrent, joblib", packed, packed_use),
    ):
        gpu_text = "–" if math.isnan(gpu_use) else f"{gpu_use:.0f} %"
        print(f"| {label} | {seconds:.0f} | {gpu_text} | {serial / seconds:.2f}x |")


if __name__ == "__main__":
    main()
