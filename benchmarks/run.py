"""All benchmarks, each in a process of its own -> results.md beside this file, with the machine named.

python benchmarks/run.py
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHMARKS = {
    "startup": "Start-up",
    "overhead": "What the suite adds to a training step",
    "prepare": "Preparing an image, against decoding it",
    "store": "Opening a store and reading batches",
}


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "opencv-python-headless", "pydicom"))
    parts = [
        "# Benchmarks",
        f"`make bench` on {len(os.sched_getaffinity(0))} cores of {processor()}; Python {platform.python_version()}, "
        f"{versions}. Both sides of a ratio were measured in one run.",
    ]
    for name, title in BENCHMARKS.items():
        print(f"{name} ...", flush=True)
        done = subprocess.run([sys.executable, HERE / f"{name}.py"], text=True, stdout=subprocess.PIPE, check=True)
        print(done.stdout, flush=True)
        parts += [f"## {title}", f"`python benchmarks/{name}.py`", done.stdout.strip()]
    (HERE / "results.md").write_text("\n\n".join(parts) + "\n")
    print(f"written to {HERE / 'results.md'}")


if __name__ == "__main__":
    main()
