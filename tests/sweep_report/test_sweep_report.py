"""Sweep report: tables, figures and page."""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.results_files import rows_of, write_run
from mammoseg.errors import UserError
from mammoseg.sweep_report import sweep_report
from mammoseg.sweep_report.sweep_discovery import find_sweeps
from mammoseg.sweep_report.sweeps import ALPHA, SettingResult, Sweep

NAN = float("nan")


def make_sweep() -> Sweep:
    """Six combinations with validation DSC 0.5 + 0.1 alpha + 0.01 theta; the one with the lowest DSC was pruned."""
    results = [
        SettingResult((theta, alpha), 0.5 + 0.1 * alpha + 0.01 * theta, 0.01, 0.6, runs=2, pruned=False)
        for theta, alpha in itertools.product((0.2, 0.8), (1.0, 2.0, 3.0))
    ]
    results.sort(key=lambda result: -result.validation)
    pruned = SettingResult((0.2, 1.0), 0.1, NAN, NAN, runs=1, pruned=True)
    return Sweep("phantom", "density_asp", ["θ1", ALPHA], [*results[:-1], pruned], "seed")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sweep_report, "find_sweeps", lambda _: [make_sweep()])
    return sweep_report.write_sweep_report([tmp_path], tmp_path / "out", top=3).parent


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_settings_are_ranked_by_validation_dsc(folder: Path) -> None:
    best = rows(folder / "best.csv")
    assert [(row["θ1"], row[ALPHA], row["validation DSC"]) for row in best] == [
        ("0.8", "3", "80.80"),
        ("0.2", "3", "80.20"),
        ("0.8", "2", "70.80"),
    ]
    all_settings = rows(folder / "settings.csv")
    assert len(all_settings) == 6
    assert (all_settings[-1]["note"], all_settings[-1]["sd"], all_settings[-1]["test DSC"]) == ("pruned", "–", "–")
    assert [row[ALPHA] for row in rows(folder / "by_alpha.csv")] == ["1", "2", "3"]


def test_effects_exclude_pruned_settings(folder: Path) -> None:
    (alpha,) = (row for row in rows(folder / "effects.csv") if row["setting"] == ALPHA)
    assert alpha["range"] == "1 to 3"
    # means over theta: 0.608 (only theta 0.8 completed with alpha 1), 0.705, 0.805
    assert alpha["max - min of means, points"] == "19.70"
    assert alpha["best at"] == "3"


def test_the_report_contains_the_figures_and_the_best_settings(folder: Path) -> None:
    for name in ("effects", "interaction", "grid"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (folder / f"{name}.svg").read_text()
    # Each figure has a second version for narrow windows.
    assert (folder / "report.html").read_text().count("data:image/png;base64,") == 6
    assert "80.80 %: θ1=0.8, α=3." in (folder / "report.md").read_text()


def test_the_summary_mentions_missing_replicates() -> None:
    replicated = make_sweep()
    single = replace(replicated, results=[replace(result, runs=1) for result in replicated.results])
    assert "6 combinations of settings in 11 runs (1 pruned)" in sweep_report.summary(replicated)
    assert "run once" not in sweep_report.summary(replicated)
    assert "run once" in sweep_report.summary(single)


def test_tied_combinations_have_no_best_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = make_sweep()
    tied = replace(sweep, results=[replace(result, validation=0.5) for result in sweep.completed])
    assert "same validation DSC, 50.00 %." in sweep_report.summary(tied)
    assert "Highest" not in sweep_report.summary(tied)
    (alpha,) = (row for row in sweep_report.effects_table(tied, "").rows if row[0] == ALPHA)
    assert alpha[-1] == "–"
    two = replace(sweep, results=[replace(r, validation=min(r.validation, 0.7)) for r in sweep.completed])
    assert "70.00 % by 4 combinations: " in sweep_report.summary(two)


def test_compute_settings_are_no_axes(tmp_path: Path) -> None:
    for i, (alpha, workers, devices, channels_last) in enumerate([(1.0, 0, 1, True), (2.0, 4, 2, False)]):
        settings = {
            "loss": {"alpha": alpha},
            "num_workers": workers,
            "channels_last": channels_last,
            "trainer": {"devices": devices},
        }
        write_run(tmp_path / str(i), rows_of("density_asp", quality=0.6), settings)
        record = json.loads((tmp_path / str(i) / "run.json").read_text())
        record["about"] = {"dataset": "phantom", "method": "density_asp"}
        (tmp_path / str(i) / "run.json").write_text(json.dumps(record))
    (sweep,) = find_sweeps([tmp_path])
    assert sweep.names == [ALPHA]


def test_top_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"top must be .* got 0"):
        sweep_report.write_sweep_report([tmp_path], tmp_path / "out", top=0)


def write_sweep_run(folder: Path, alpha: float, *, fold: int = 0, **settings: object) -> None:
    """A finished run of a sweep over alpha."""
    stored = {"loss": {"alpha": alpha}, "split": {"fold": fold}, "seed": 0, **settings}
    write_run(folder, rows_of("density_asp", quality=0.5, fold=fold), stored)
    record = {"run_info": {"dataset": "phantom", "method": "density_asp"}, "settings": stored}
    record |= {"status": "finished", "format": 2, "score": 0.5}
    (folder / "run.json").write_text(json.dumps(record))


def test_repeated_runs_are_no_replicates(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, alpha in (("a", 1.0), ("copy", 1.0), ("b", 2.0)):
        write_sweep_run(tmp_path / name, alpha)
    (sweep,) = find_sweeps([tmp_path])
    assert [result.runs for result in sweep.results] == [1, 1]
    assert "1 runs repeat another run" in caplog.text
    assert "Each combination was run once" in sweep_report.summary(sweep)


def test_different_folds_are_reported(tmp_path: Path) -> None:
    for name, alpha, fold in (("a0", 1.0, 0), ("a1", 1.0, 1), ("b0", 2.0, 0)):
        write_sweep_run(tmp_path / name, alpha, fold=fold)
    assert "not run with the same fold" in sweep_report.summary(*find_sweeps([tmp_path]))
    write_sweep_run(tmp_path / "b1", 2.0, fold=1)
    assert "not run with the same fold" not in sweep_report.summary(*find_sweeps([tmp_path]))


def test_runs_that_are_not_reported_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, alpha, lesions in (("a", 1.0, ["mass"]), ("b", 2.0, ["mass"]), ("c", 2.0, ["mass", "calcification"])):
        write_sweep_run(tmp_path / name, alpha, dataset={"reader": {"lesions": lesions}})
    (sweep,) = find_sweeps([tmp_path])
    assert [result.runs for result in sweep.results] == [1, 1]
    assert "not reported" in caplog.text
    assert "calcification" in caplog.text


def test_null_is_no_value(tmp_path: Path) -> None:
    for name, alpha, clip in (("a", 1.0, None), ("b", 2.0, 1.0), ("c", 3.0, 2.0)):
        write_sweep_run(tmp_path / name, alpha, trainer={"gradient_clip_val": clip})
    report = sweep_report.write_sweep_report([tmp_path], tmp_path / "out", top=3)
    assert {row["trainer.gradient_clip_val"] for row in rows(report.parent / "settings.csv")} == {"–", "1", "2"}
    (clip_row,) = (row for row in rows(report.parent / "effects.csv") if row["setting"] != ALPHA)
    assert clip_row["range"] == "1 to 2"
