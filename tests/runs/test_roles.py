"""Roles of settings: restart, comparison and sweep report agree on the meaning of a difference in one setting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from helpers.results_files import rows_of, write_run
from mammoseg.conf import conf_dir
from mammoseg.errors import RunConflictError
from mammoseg.runs.discovery import find_runs, unfinished_duplicates
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import RunRecord, Status, load_matching_record, make_record, read_record, write_record
from mammoseg.runs.settings import public
from mammoseg.statistics.alignment import align_runs
from mammoseg.sweep_report.sweep_discovery import find_sweeps

COMPUTE = [
    *("dataset.workers=2", "dataset.on_device=true", "num_workers=2", "optimizer.fused=false", "compile=default"),
    *("channels_last=false", "trainer.devices=2", "trainer=ddp", "trainer.accelerator=cpu", "logger=csv"),
]
METHOD = ["trainer.precision=bf16-mixed", "loss.alpha=1", "width=2", "batch_size=2", "patience=5", "dataset.flip=left"]
REPLICATE = ["seed=1", "split.seed=1", "split.fold=1"]


@cache
def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", list(overrides))


def record_of(*overrides: str, **changes: Any) -> RunRecord:
    info = {"run": "r", "dataset": "phantom", "method": "density_asp", "experiment": "", "fold": "0", "seed": 0}
    return replace(make_record(composed(*overrides), info), **changes)


def settings_of(*overrides: str) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(composed(*overrides), resolve=True)
    settings: dict[str, Any] = json.loads(json.dumps(public(plain)))
    return settings


def write(folder: Path, overrides: Sequence[str], score: float, seed: int = 0, quality: float = 0.6) -> None:
    write_run(folder, rows_of("density_asp", quality=quality, fold=0, seed=seed), settings_of(*overrides))
    info = {"dataset": "phantom", "method": "density_asp"}
    write_record(RunFolder(folder), record_of(*overrides, run_info=info, score=score, status=Status.FINISHED))


def test_write_and_read_record_round_trip(tmp_path: Path) -> None:
    record = record_of("loss.alpha=1", score=0.5, status=Status.PRUNED, pruned=3)
    write_record(RunFolder(tmp_path), record)
    assert read_record(RunFolder(tmp_path)) == record
    assert read_record(RunFolder(tmp_path / "none")) is None


@pytest.mark.parametrize(("score", "status"), [(0.5, Status.FINISHED), (None, Status.RUNNING)])
def test_status_of_a_version_0_1_record_follows_from_its_score(
    tmp_path: Path, score: float | None, status: Status
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"about": {"run": "r"}, "settings": {"seed": 0}, "score": score}))
    record = read_record(RunFolder(tmp_path))
    assert record is not None
    assert (record.status, record.run_info) == (status, {"run": "r"})


@pytest.mark.parametrize("override", COMPUTE)
def test_a_compute_setting_may_change_on_restart(tmp_path: Path, override: str) -> None:
    folder = RunFolder(tmp_path / "run")
    write_record(folder, record_of(status=Status.STOPPED))
    assert load_matching_record(folder, record_of(override)) is not None
    duplicates = unfinished_duplicates(RunFolder(tmp_path / "new"), record_of(override))
    assert [run.path for run in duplicates] == [folder.path]


@pytest.mark.parametrize("override", [*METHOD, *REPLICATE])
def test_a_changed_method_or_replicate_setting_raises_on_restart(tmp_path: Path, override: str) -> None:
    folder = RunFolder(tmp_path / "run")
    write_record(folder, record_of(status=Status.STOPPED))
    with pytest.raises(RunConflictError, match="holds a run with"):
        load_matching_record(folder, record_of(override))
    assert unfinished_duplicates(RunFolder(tmp_path / "new"), record_of(override)) == []


def test_only_epochs_may_change_on_resume(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_record(folder, record_of(status=Status.STOPPED))
    allowed = ("trainer.max_epochs",)
    assert load_matching_record(folder, record_of("epochs=5"), allowed) is not None
    with pytest.raises(RunConflictError, match=r"optimizer\.lr=0\.003, not 1e-05"):
        load_matching_record(folder, record_of("epochs=5", "lr=1e-5"), allowed)
    with pytest.raises(RunConflictError, match=r"callbacks\.early_stopping\._target_=null, not mammoseg"):
        load_matching_record(folder, record_of("patience=3"), allowed)


@pytest.mark.parametrize("override", COMPUTE)
def test_runs_that_differ_in_a_compute_setting_are_one_method_in_a_comparison(tmp_path: Path, override: str) -> None:
    write(tmp_path / "a", [], 0.5)
    write(tmp_path / "b", [override, "seed=1"], 0.6, seed=1)
    data = align_runs(find_runs([tmp_path]))
    assert data.methods == ["density_asp"]
    assert data.common_fold_seeds == [("0", "0"), ("0", "1")]


@pytest.mark.parametrize("override", METHOD)
def test_runs_that_differ_in_a_method_setting_are_two_methods_in_a_comparison(tmp_path: Path, override: str) -> None:
    write(tmp_path / "a", [], 0.5)
    write(tmp_path / "b", [override], 0.6)
    methods = align_runs(find_runs([tmp_path])).methods
    assert len(methods) == 2
    assert all("=" in method for method in methods)


def test_runs_that_differ_in_the_split_seed_are_replicates_in_a_comparison(tmp_path: Path) -> None:
    write(tmp_path / "a", [], 0.5)
    write(tmp_path / "b", ["split.seed=1"], 0.6, quality=0.5)
    data = align_runs(find_runs([tmp_path]))
    assert data.methods == ["density_asp"]
    assert [fold for fold, _ in data.common_fold_seeds] == ["0 of split 0", "0 of split 1"]
    assert any("2 different split seeds" in note for note in data.notes)


@pytest.mark.parametrize("override", COMPUTE)
def test_a_compute_setting_is_not_an_axis_of_a_sweep(tmp_path: Path, override: str) -> None:
    for index, alpha in enumerate((1, 2)):
        write(tmp_path / f"a{index}", [f"loss.alpha={alpha}"], 0.5)
        write(tmp_path / f"b{index}", [f"loss.alpha={alpha}", override, "seed=1"], 0.6)
    (sweep,) = find_sweeps([tmp_path])
    assert sweep.names == ["α"]
    assert [result.runs for result in sweep.results] == [2, 2]


@pytest.mark.parametrize("override", REPLICATE)
def test_replicates_are_averaged_in_a_sweep(tmp_path: Path, override: str) -> None:
    for index, alpha in enumerate((1, 2)):
        write(tmp_path / f"a{index}", [f"loss.alpha={alpha}"], 0.5)
        write(tmp_path / f"b{index}", [f"loss.alpha={alpha}", override], 0.6)
    (sweep,) = find_sweeps([tmp_path])
    assert sweep.names == ["α"]
    assert [result.validation for result in sweep.results] == [pytest.approx(0.55)] * 2


def test_runs_that_differ_in_precision_are_two_sweeps(tmp_path: Path) -> None:
    for index, alpha in enumerate((1, 2)):
        write(tmp_path / f"a{index}", [f"loss.alpha={alpha}"], 0.5)
        write(tmp_path / f"b{index}", [f"loss.alpha={alpha}", "trainer.precision=bf16-mixed"], 0.6)
    assert len(find_sweeps([tmp_path])) == 2
