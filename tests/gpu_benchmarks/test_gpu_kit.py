"""`make gpu SMALL=1` on a CPU: all steps, with an interruption of a training run and a continuation."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.commands import TIMEOUT_S, has_trained, wait_until

pytestmark = pytest.mark.skipif("GPU_KIT" not in os.environ, reason="takes two minutes; `make fuzz` sets GPU_KIT=1")

REPOSITORY = Path(__file__).resolve().parents[2]
N_IMAGES, SIZE = 24, 64


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dataset of 24 images of 24 patients in the layout of dataset=folder, with an official split."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = ["case,image,mask,patient,side,view,density,split"]
    for index in range(N_IMAGES):
        image, mask = (np.zeros((SIZE, SIZE), np.uint8) for _ in range(2))
        cv2.ellipse(image, (0, SIZE // 2), (40, 28), 0, 0, 360, 90, -1)
        image[image > 0] += rng.integers(0, 20, (image > 0).sum(), np.uint8)
        cv2.circle(mask, (int(rng.integers(8, 24)), int(rng.integers(20, 44))), 5, 255, -1)
        image[mask > 0] = 200 + index
        for part, pixels in (("images", image), ("masks", mask)):
            (folder / part).mkdir(exist_ok=True)
            assert cv2.imwrite(str(folder / part / f"{index}.png"), pixels)
        split = "test" if index % 3 == 0 else "train"
        rows.append(f"c{index},images/{index}.png,masks/{index}.png,p{index},LEFT,CC,{index % 4 + 1},{split}")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def make_gpu(data: Path, folder: Path) -> subprocess.Popen[str]:
    """Start a slice."""
    variables = (
        f"DATA={data}",
        f"OUT={folder / 'out'}",
        f"WORK={folder / 'work'}",
        "MINUTES=15",
        "TOTAL=60",
        "SMALL=1",
    )
    return subprocess.Popen(
        ["make", "--no-print-directory", "gpu", f"BIN={Path(sys.executable).parent}", *variables],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name not in ("OUT", "MAKEFLAGS")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def statuses(folder: Path) -> dict[str, str]:
    steps: dict[str, dict[str, Any]] = json.loads((folder / "work/state.json").read_text(encoding="utf-8"))["steps"]
    return {name: values["status"] for name, values in steps.items()}


def test_all_steps_succeed_although_a_training_run_is_interrupted(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "work" / "runs" / "density_asp"
    first = make_gpu(data, tmp_path)
    wait_until(lambda: has_trained(run, 2), first)
    os.killpg(first.pid, signal.SIGTERM)
    output = first.communicate(timeout=TIMEOUT_S)[0]
    assert first.returncode != 0, output
    interrupted = statuses(tmp_path)
    assert interrupted["density_asp"] == "stopped", output
    assert interrupted["hybrid_pixel"] == "done"
    assert "| density_asp | stopped |" in (tmp_path / "out" / "gpu.md").read_text(encoding="utf-8")
    finished = {name: (tmp_path / f"work/logs/{name}.out").stat().st_mtime_ns for name in ("tests", "overhead")}

    second = make_gpu(data, tmp_path)
    output = second.communicate(timeout=TIMEOUT_S)[0]
    assert second.returncode == 0, output + (tmp_path / "out" / "gpu.md").read_text(encoding="utf-8")
    assert set(statuses(tmp_path).values()) == {"done"}
    assert finished == {name: (tmp_path / f"work/logs/{name}.out").stat().st_mtime_ns for name in finished}
    assert "resuming after step" in (run / "train.log").read_text(encoding="utf-8")
    check_report((tmp_path / "out" / "gpu.md").read_text(encoding="utf-8"))
    check_archive(tmp_path / "out" / "gpu_files.zip", [str(tmp_path), str(data), str(REPOSITORY), str(Path.home())])


def check_report(report: str) -> None:
    """The key figure of each step is in the summary, and the tables follow."""
    patterns = {
        "tests": r"\d+ passed",
        "criterion": r"[\d.]+ % \(target: at most 15 %, (not )?met\)",
        "step": r"(bf16-mixed|32-true): a training step takes",
        "overhead": r"-?[\d.]+ % \(target: at most 15 %, (not )?met\); of the criterion -?[\d.]+ %",
        "packing": r"[\d.]+x \(target: at least 2x, (not )?met\)",
        "packing_full_width": r"[\d.]+x \(target: at least 2x, (not )?met\)",
        "loader": r"[\d.]+ ms per batch, [\d.]+ % of a step",
        "prepare": rf"{N_IMAGES} images",
        "calibration": r"(bf16-mixed|32-true)",
        "hybrid_pixel": r"12 epochs, .*test DSC \d",
        "density_asp": r"12 epochs, .*test DSC \d",
        "comparison": r"difference in pooled DSC",
    }
    for name, pattern in patterns.items():
        assert re.search(rf"^\| {name} \| done \| \d+ s \| {pattern}", report, re.MULTILINE), name
    assert "12 epochs each, the learning rate is halved every 4 epochs" in report
    assert report.count("| all, pooled over pixels |") == 2
    assert "| AU-Net |" in report


def check_archive(path: Path, local: list[str]) -> None:
    """Only tables, logs and figures, without local paths; the training is complete."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert {Path(name).suffix for name in contents} <= {
        *(".md", ".csv", ".json", ".log", ".out", ".html", ".tex"),
        ".svg",
        ".png",
    }
    for name, content in contents.items():
        assert not any(folder.encode() in content for folder in local), name
    assert sum(len(content) for content in contents.values()) < 16 * 2**20
    for method in ("hybrid_pixel", "density_asp"):
        rows = [*csv.DictReader(contents[f"runs/{method}/metrics.csv"].decode().splitlines())]
        assert sorted(int(row["epoch"]) for row in rows if row.get("val/dsc")) == [*range(12)]
        assert len(contents[f"runs/{method}/results.csv"].decode().splitlines()) == N_IMAGES // 3 + 1
    assert b"<svg" in contents["comparison/report.html"] or b"<img" in contents["comparison/report.html"]
