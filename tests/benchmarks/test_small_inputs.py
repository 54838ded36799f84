"""Each benchmark of `make bench` runs with small inputs and prints a table."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif("BENCHMARKS" not in os.environ, reason="takes minutes; `make fuzz` sets BENCHMARKS=1")

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
STEP = ["--width", "4", "--size", "64", "--rounds", "1", "--no-compile", "--no-memory"]
SMALL = {
    "startup": ["--repeats", "1"],
    "overhead": ["--epochs", "2", "dataset.source.cases=40", "dataset.source.height=208", "dataset.size=64", "width=4"],
    "table": ["dataset.source.cases=40", "dataset.source.height=208", "dataset.size=64", "width=2", "epochs=1"],
    "criterion": ["--size", "64", "--rounds", "1", "--no-compile"],
    "step": STEP,
    "step --model efficientnet_unet": STEP,
    "convolutions": ["--rounds", "1", "method=efficientnet_unet", "width=8", "dataset.size=64", "batch_size=2"],
    "depthwise_convolutions": ["--batch-size", "1", "--size", "64"],
    "scaling": ["--small"],
    "prepare": ["--films", "8", "--height", "832"],
    "store": ["--images", "40", "--width", "4"],
}


def test_every_benchmark_is_tested() -> None:
    assert list(runpy.run_path(str(BENCHMARKS / "run.py"))["BENCHMARKS"]) == list(SMALL)


@pytest.mark.parametrize("benchmark", SMALL)
def test_a_benchmark_runs_with_small_inputs(benchmark: str, tmp_path: Path) -> None:
    name, *arguments = benchmark.split()
    plot = ["--plot", str(tmp_path / "scaling.png")] if name == "scaling" else []
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments, *SMALL[benchmark], *plot]
    completed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert completed.returncode == 0, completed.stderr
    rows = [line for line in completed.stdout.splitlines() if line.startswith("|")]
    assert len(rows) > 2, completed.stdout
