"""`python -m mammoseg.prepare`: report, and resuming after Ctrl-C, kill -9 and a full disk."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.commands import TIMEOUT_S, run, run_process, start, wait_until
from mammoseg.data.prepare_store import CACHE_PREFIX
from mammoseg.data.store import PreparedStore
from mammoseg.phantom.cbis_ddsm import write_cbis_ddsm

CASES = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset") / "CBIS-DDSM"
    write_cbis_ddsm(folder, cases=CASES, seed=1, height=416)
    return folder


def settings(root: Path) -> list[str]:
    return ["dataset=cbis_ddsm", f"dataset.root={root}", "dataset.size=64", "dataset.workers=2"]


def prepare(root: Path, folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return run("prepare", *settings(root), *overrides, folder=folder)


@pytest.fixture(scope="module")
def reference(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PreparedStore, str]:
    folder = tmp_path_factory.mktemp("reference")
    completed = prepare(root, folder)
    assert completed.returncode == 0, completed.stderr
    (table,) = folder.rglob("cases.csv")
    return PreparedStore.open(table.parent), completed.stdout


def test_the_report_describes_the_store(reference: tuple[PreparedStore, str]) -> None:
    store, output = reference
    report = json.loads((store.folder / "data_report.json").read_text())
    assert report["counts"]["images"] == len(store.cases) == CASES
    assert report["counts"]["masses"] == sum(case.masses for case in store.cases)
    assert report["counts"]["train images"] + report["counts"]["test images"] == CASES
    assert report["published"]["images"] == {"published": 1592, "here": CASES, "difference": CASES - 1592}
    assert sum(report["density"].values()) == CASES
    assert sum(map(sum, report["density_agreement"]["confusion"])) == CASES
    assert sorted(report["masks_rescaled"]) == sorted(case.case for case in store.cases if case.mask_resized) != []
    assert "images/s" in output
    assert re.search(rf"1592; .*{CASES} \({CASES - 1592}\)", output)
    assert "1231; " in (store.folder / "data_report.md").read_text()
    for name in ("contact_sheet", "density", "mass_size", "examples"):
        image = cv2.imread(str(store.folder / f"{name}.png"))
        assert image is not None
        assert np.std(image) > 10, name
    assert not any(str(root) in (store.folder / "data_report.json").read_text() for root in (Path.home(), Path.cwd()))


def test_a_second_call_opens_the_existing_store(root: Path, reference: tuple[PreparedStore, str]) -> None:
    store, _ = reference
    completed = prepare(root, store.folder.parents[2])
    assert completed.returncode == 0
    assert "images/s" not in completed.stdout


def n_cached(folder: Path) -> int:
    return len(list((folder / "data" / "prepared").glob(f"{CACHE_PREFIX}*/*.npz")))


def child_pids(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


@pytest.mark.parametrize("signal_sent", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_call_is_resumed(
    signal_sent: signal.Signals, root: Path, reference: tuple[PreparedStore, str], tmp_path: Path
) -> None:
    process = start("prepare", *settings(root), folder=tmp_path)
    wait_until(lambda: n_cached(tmp_path) > 0, process)
    workers = child_pids(process.pid)
    if signal_sent == signal.SIGINT:  # a terminal signals the process group
        os.killpg(process.pid, signal_sent)
    else:
        process.kill()
    _, output = process.communicate(timeout=TIMEOUT_S)
    assert 0 < n_cached(tmp_path) < CASES, output
    if signal_sent == signal.SIGINT:
        assert process.returncode == 130
        assert "Traceback" not in output
        assert "interrupted" in output
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    n_before = n_cached(tmp_path)
    resumed = prepare(root, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{n_before} of {CASES} images" in resumed.stdout
    (table,) = tmp_path.rglob("cases.csv")
    store, expected = PreparedStore.open(table.parent), reference[0]
    assert store.cases == expected.cases
    assert np.array_equal(store.images, expected.images)
    assert np.array_equal(store.masks, expected.masks)
    assert n_cached(tmp_path) == 0


def test_an_unwritable_folder_is_a_user_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    completed = prepare(root, tmp_path, "dataset.store=file/store")
    assert completed.returncode == 2, completed.stderr
    assert "dataset.store" in completed.stderr


def test_a_full_disk_is_a_user_error_and_cached_images_are_kept(root: Path, tmp_path: Path) -> None:
    completed = run_process("prepare", *settings(root), folder=tmp_path, limit_file_size_kib=64)
    assert completed.returncode == 2, completed.stderr[-2000:]
    assert "Traceback" not in completed.stderr
    assert n_cached(tmp_path) == CASES, "single images are below the limit, the store is not"
    assert prepare(root, tmp_path).returncode == 0


@pytest.mark.parametrize("setting", ["density=estimated", "missing_density=estimate"])
def test_density_can_be_estimated(setting: str, root: Path, tmp_path: Path) -> None:
    completed = prepare(root, tmp_path, f"dataset.{setting}")
    assert completed.returncode == 0, completed.stderr
    (table,) = tmp_path.rglob("cases.csv")
    cases = PreparedStore.open(table.parent).cases
    estimated = [case.density == case.estimated_density for case in cases]
    from_dataset = [case.density == case.given_density for case in cases]
    assert all(estimated if setting == "density=estimated" else from_dataset)
    assert "quadratic kappa" in completed.stdout
