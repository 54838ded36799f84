"""Run all benchmarks in separate processes and write results.md next to this file.

python benchmarks/run.py [name ...]     with names: run only these, without writing results.md
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHMARKS = {
    "startup": "Start-up time",
    "overhead": "Overhead of the suite in a training step",
    "table": "Table 1 with concurrent jobs on one device",
    "criterion": "Criterion, compared with a reference implementation and other SSIM losses",
    "step": "Training step with each performance option",
    "convolutions": "Performance of the convolutions of EfficientNetUNet",
    "depthwise_convolutions": "Depthwise convolutions in single precision and in bfloat16",
    "scaling": "Scaling of time and memory",
    "prepare": "Preprocessing, compared with decoding",
    "store": "Opening a prepared dataset and reading batches",
}


def processor() -> str:
    """Return the model name of the CPU."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    """Run the benchmarks given on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of {', '.join(BENCHMARKS)}")
    names = parser.parse_args().names
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"name must be one of {', '.join(BENCHMARKS)}, got {', '.join(sorted(unknown))}")
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "opencv-python-headless", "pydicom"))
    sections = [
        "# Benchmarks",
        f"`make bench` on {len(os.sched_getaffinity(0))} cores of {processor()}; Python {platform.python_version()}, "
        f"{versions}. Both values of a ratio were measured in the same run.",
    ]
    started, failed = time.monotonic(), []
    for name in names or BENCHMARKS:
        print(f"{name} ...", flush=True)
        completed = subprocess.run(
            [sys.executable, HERE / f"{name}.py"], text=True, stdout=subprocess.PIPE, check=False
        )
        if completed.returncode:
            failed.append(name)
            continue
        print(completed.stdout, flush=True)
        sections += [f"## {BENCHMARKS[name]}", f"`python benchmarks/{name}.py`", completed.stdout.strip()]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    if names:
        sys.exit(bool(failed))
    sections[1] += f" All benchmarks took {(time.monotonic() - started) / 60:.0f} minutes."
    (HERE / "results.md").write_text("\n\n".join(sections) + "\n")
    print(f"written to {HERE / 'results.md'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
