"""The report of a sweep: its tables, figures and page."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from mammoseg.errors import UserError
from mammoseg.sweep_report import sweep_report as report
from mammoseg.sweep_report.sweeps import ALPHA, SettingResult, Sweep

NAN = float("nan")


def sweep() -> Sweep:
    """Six settings: validation DSC 0.5 + 0.1 alpha + 0.01 theta 1; the one of the lowest DSC was pruned."""
    results = [
        SettingResult((theta, alpha), 0.5 + 0.1 * alpha + 0.01 * theta, 0.01, 0.6, runs=2, pruned=False)
        for theta, alpha in itertools.product((0.2, 0.8), (1.0, 2.0, 3.0))
    ]
    results.sort(key=lambda result: -result.validation)
    pruned = SettingResult((0.2, 1.0), 0.1, NAN, NAN, runs=1, pruned=True)
    return Sweep("phantom", "density_asp", ["θ1", ALPHA], [*results[:-1], pruned], "seed")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(report, "find_sweeps", lambda folders: [sweep()])
    return report.write_sweep_report([tmp_path], tmp_path / "out", top=3).parent


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_best_settings_are_ranked_by_validation_dsc(folder: Path) -> None:
    best = rows(folder / "best.csv")
    assert [(row["θ1"], row[ALPHA], row["validation DSC"]) for row in best] == [
        ("0.8", "3", "80.80"),
        ("0.2", "3", "80.20"),
        ("0.8", "2", "70.80"),
    ]
    everything = rows(folder / "settings.csv")
    assert len(everything) == 6
    assert (everything[-1]["note"], everything[-1]["sd"], everything[-1]["test DSC"]) == ("pruned", "–", "–")
    assert [row[ALPHA] for row in rows(folder / "by_alpha.csv")] == ["1", "2", "3"]


def test_sensitivity_leaves_out_pruned_settings(folder: Path) -> None:
    (alpha,) = (row for row in rows(folder / "sensitivity.csv") if row["setting"] == ALPHA)
    assert alpha["range"] == "1 to 3"
    # means over theta: 0.608 (only theta 0.8 was trained with alpha 1), 0.705, 0.805
    assert alpha["spread of means, points"] == "19.70"
    assert alpha["best at"] == "3"


def test_the_page_has_the_figures_and_names_the_best_setting(folder: Path) -> None:
    for name in ("sensitivity", "interaction", "grid"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (folder / f"{name}.svg").read_text()
    assert (folder / "report.html").read_text().count("data:image/png;base64,") == 3
    assert "80.80 %: θ1=0.8, α=3." in (folder / "report.md").read_text()


def test_the_summary_warns_of_single_runs() -> None:
    replicated = sweep()
    single = replace(replicated, results=[replace(result, runs=1) for result in replicated.results])
    warning = "Each setting was run once, so its variation over seed is unknown."
    assert report.summary(replicated).startswith("phantom, density_asp: 6 settings in 11 runs, 1 of them pruned. Best")
    assert warning not in report.summary(replicated)
    assert report.summary(single).endswith(warning)


def test_top_must_be_a_positive_number(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"top must be .* got 0"):
        report.write_sweep_report([tmp_path], tmp_path / "out", top=0)
