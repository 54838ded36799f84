"""All benchmarks, each in a process of its own -> results.md beside this file, with the machine named.

python benchmarks/run.py [name ...]     with names: those alone, shown and not written
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
    "startup": "Start-up",
    "overhead": "What the suite adds to a training step",
    "table": "Table 1, jobs packed onto one device",
    "criterion": "The criterion, against its naive composition and other SSIM losses",
    "step": "A training step and its accelerations",
    "scaling": "Time and memory against size",
    "prepare": "Preparing an image, against decoding it",
    "store": "Opening a store and reading batches",
}


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}")
    names = parser.parse_args().names
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "opencv-python-headless", "pydicom"))
    parts = [
        "# Benchmarks",
        f"`make bench` on {len(os.sched_getaffinity(0))} cores of {processor()}; Python {platform.python_version()}, "
        f"{versions}. Both sides of a ratio were measured in one run.",
    ]
    began, failed = time.monotonic(), []
    for name in names or BENCHMARKS:
        print(f"{name} ...", flush=True)
        done = subprocess.run([sys.executable, HERE / f"{name}.py"], text=True, stdout=subprocess.PIPE, check=False)
        if done.returncode:
            failed.append(name)
            continue
        print(done.stdout, flush=True)
        parts += [f"## {BENCHMARKS[name]}", f"`python benchmarks/{name}.py`", done.stdout.strip()]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    if names:
        sys.exit(bool(failed))
    parts[1] += f" All of it took {(time.monotonic() - began) / 60:.0f} minutes."
    (HERE / "results.md").write_text("\n\n".join(parts) + "\n")
    print(f"written to {HERE / 'results.md'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
