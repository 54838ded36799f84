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
BENCHMARKS = {  # script and arguments: title
    "startup": "Start-up time",
    "overhead": "Overhead of the suite in a training step",
    "table": "Table 1 with concurrent jobs on one device",
    "criterion": "Criterion, compared with a reference implementation and other SSIM losses",
    "step": "Training step of AU-Net with each performance option",
    "step --model efficientnet_unet": "Training step of EfficientNetUNet with each performance option",
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
    scripts = list(dict.fromkeys(benchmark.split()[0] for benchmark in BENCHMARKS))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of {', '.join(scripts)}")
    names = parser.parse_args().names
    if unknown := set(names) - set(scripts):
        parser.error(f"name must be one of {', '.join(scripts)}, got {', '.join(sorted(unknown))}")
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "opencv-python-headless", "pydicom"))
    sections = [
        "# Benchmarks",
        f"`make bench` on {len(os.sched_getaffinity(0))} cores of {processor()}; Python {platform.python_version()}, "
        f"{versions}. Both values of a ratio were measured in the same run.",
    ]
    started, failed = time.monotonic(), []
    for benchmark, title in BENCHMARKS.items():
        name, *arguments = benchmark.split()
        if names and name not in names:
            continue
        print(f"{benchmark} ...", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
        completed = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=False)
        if completed.returncode:
            failed.append(benchmark)
            continue
        print(completed.stdout, flush=True)
        shown = " ".join(["python", f"benchmarks/{name}.py", *arguments])
        sections += [f"## {title}", f"`{shown}`", completed.stdout.strip()]
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
