"""Tests, benchmarks and training on a GPU in slices of a few minutes, each of which continues where the last stopped.

python benchmarks/gpu.py --data DIR [--out DIR] [--work DIR] [--minutes 9] [--total 25] [--wheels DIR]
                         [--repeat NAME ...] [--skip NAME ...] [--small]

The steps are listed in gpu_steps.py. A step that is finished is not run again; one that was stopped at the time limit
is repeated, or continued if it is a training run; a step that failed is recorded, and the next one is run. The report,
gpu.md, and gpu_files.zip are written to the output folder after each step. Exit status: 0 if all steps have succeeded,
1 if some have failed or are pending, 2 if an argument is invalid.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

import gpu_environment
from mammoseg.processes import exclusive_lock


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset: cases.csv with column split, images, masks")
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu_results"), help="folder of the report")
    parser.add_argument("--work", type=Path, help="folder of the state and the runs; by default outputs/gpu")
    parser.add_argument("--minutes", type=float, default=9.0, help="duration of this slice")
    parser.add_argument(
        "--total", type=float, default=25.0, help="duration of all slices in minutes, up to the comparison"
    )
    parser.add_argument("--wheels", type=Path, help="folder with wheels of the packages that are missing")
    parser.add_argument("--repeat", nargs="*", default=[], metavar="NAME", help="steps to run again")
    parser.add_argument("--skip", nargs="*", default=[], metavar="NAME", help="steps not to run in this slice")
    parser.add_argument("--small", action="store_true", help="tiny network and few epochs, to test the steps on a CPU")
    arguments = parser.parse_args()
    if not (arguments.data / "cases.csv").is_file():
        parser.error(f"--data must be a folder with cases.csv, got {arguments.data}")
    if arguments.minutes <= 0 or arguments.total <= 0:
        parser.error(f"--minutes and --total must be positive, got {arguments.minutes:g} and {arguments.total:g}")
    return arguments


def exit_on_signal(signum: int, _: FrameType | None) -> NoReturn:
    """Exit, so that the running step is stopped and recorded."""
    sys.exit(128 + signum)


def main() -> None:
    """Run a slice."""
    start = time.monotonic()
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, exit_on_signal)
    work = (arguments.work or Path("outputs/gpu_small" if arguments.small else "outputs/gpu")).resolve()
    work.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(work / ".lock", "waiting for another process that works in this folder"):
        try:
            not_installed = gpu_environment.add_packages(arguments.wheels, work / "site")
            from gpu_slice import open_state, run_slice  # imports packages that may just have been installed

            state = open_state(work, not_installed, arguments.repeat, arguments.skip)
        except (gpu_environment.MissingPackagesError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        minutes = arguments.minutes - (time.monotonic() - start) / 60
        succeeded = run_slice(
            *(arguments.data, arguments.out, state, minutes, arguments.total, arguments.small, arguments.skip)
        )
    print(f"written to {arguments.out}: gpu.md, gpu_files.zip", flush=True)
    sys.exit(not succeeded)


if __name__ == "__main__":
    main()
