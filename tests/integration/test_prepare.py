"""`python -m mammoseg.prepare`: reports what it found, and goes on after Ctrl-C, kill -9 and a full disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from mammoseg.data.prepare_store import CACHE_PREFIX
from mammoseg.data.store import PreparedStore
from mammoseg.phantom.cbis_ddsm import write_cbis_ddsm

CASES = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films") / "CBIS-DDSM"
    write_cbis_ddsm(folder, cases=CASES, seed=1, height=416)
    return folder


def arguments(root: Path, *more: str) -> list[str]:
    command = [sys.executable, "-m", "mammoseg.prepare", "dataset=cbis_ddsm", f"dataset.root={root}"]
    return [*command, "dataset.size=64", "dataset.workers=2", *more]


def prepare(root: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments(root, *more), cwd=folder, text=True, capture_output=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def reference(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PreparedStore, str]:
    folder = tmp_path_factory.mktemp("reference")
    done = prepare(root, folder)
    assert done.returncode == 0, done.stderr
    (table,) = folder.rglob("cases.csv")
    return PreparedStore.open(table.parent), done.stdout


def test_the_report_tells_what_is_there(reference: tuple[PreparedStore, str]) -> None:
    store, told = reference
    report = json.loads((store.folder / "data_report.json").read_text())
    assert report["counts"]["images"] == len(store.cases) == CASES
    assert report["counts"]["masses"] == sum(case.masses for case in store.cases)
    assert report["counts"]["train images"] + report["counts"]["test images"] == CASES
    assert report["published"]["images"] == {"published": 1592, "here": CASES, "difference": CASES - 1592}
    assert sum(report["density"].values()) == CASES
    assert sum(map(sum, report["density_agreement"]["confusion"])) == CASES
    assert sorted(report["masks_rescaled"]) == sorted(case.case for case in store.cases if case.mask_resized) != []
    assert "images/s" in told
    assert f"1592; here {CASES} ({CASES - 1592})" in told
    assert "1231; here" in (store.folder / "data_report.md").read_text()
    for name in ("contact_sheet", "density", "mass_size", "examples"):
        picture = cv2.imread(str(store.folder / f"{name}.png"))
        assert picture is not None
        assert np.std(picture) > 10, name
    assert not any(str(root) in (store.folder / "data_report.json").read_text() for root in (Path.home(), Path.cwd()))


def test_a_second_call_prepares_nothing(root: Path, reference: tuple[PreparedStore, str]) -> None:
    store, _ = reference
    done = prepare(root, store.folder.parents[2])
    assert done.returncode == 0
    assert "images/s" not in done.stdout


def finished(folder: Path) -> int:
    return len(list((folder / "data" / "prepared").glob(f"{CACHE_PREFIX}*/*.npz")))


def children(process: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_call_is_gone_on_with(
    how: signal.Signals, root: Path, reference: tuple[PreparedStore, str], tmp_path: Path
) -> None:
    started = subprocess.Popen(
        arguments(root), cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    until = time.monotonic() + 60
    while finished(tmp_path) < 4:
        assert time.monotonic() < until
        time.sleep(0.002)
    workers = children(started.pid)
    if how == signal.SIGINT:  # as a terminal does: the whole group
        os.killpg(started.pid, how)
    else:
        started.kill()
    _, told = started.communicate(timeout=60)
    before = finished(tmp_path)
    assert 4 <= before < CASES, told
    if how == signal.SIGINT:
        assert started.returncode == 130
        assert "Traceback" not in told
        assert "interrupted" in told
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)
    before = finished(tmp_path)
    again = prepare(root, tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"resuming; {before} of {CASES} images are preprocessed already" in again.stdout
    (table,) = tmp_path.rglob("cases.csv")
    store, expected = PreparedStore.open(table.parent), reference[0]
    assert store.cases == expected.cases
    assert np.array_equal(store.images, expected.images)
    assert np.array_equal(store.masks, expected.masks)
    assert finished(tmp_path) == 0


def test_a_folder_that_cannot_be_written_ends_in_one_sentence(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = prepare(root, tmp_path, "dataset.store=file/store")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "dataset.store" in done.stderr


def test_a_full_disk_ends_in_one_sentence_and_loses_nothing(root: Path, tmp_path: Path) -> None:
    """A limit on the size of files, which the system reports as a full disk would be: in the middle of a write."""
    limited = ["bash", "-c", 'ulimit -f 64; trap "" XFSZ; exec "$@"', "bash", *arguments(root)]
    done = subprocess.run(limited, cwd=tmp_path, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert finished(tmp_path) == CASES, "the single images fit below the limit, the store did not"
    assert prepare(root, tmp_path).returncode == 0


@pytest.mark.parametrize("setting", ["density=estimated", "missing_density=estimate"])
def test_density_may_come_from_the_image(setting: str, root: Path, tmp_path: Path) -> None:
    done = prepare(root, tmp_path, f"dataset.{setting}")
    assert done.returncode == 0, done.stderr
    (table,) = tmp_path.rglob("cases.csv")
    cases = PreparedStore.open(table.parent).cases
    estimated = [case.density == case.estimated_density for case in cases]
    given = [case.density == case.given_density for case in cases]
    assert all(estimated if setting == "density=estimated" else given)
    assert "quadratic kappa" in done.stdout
