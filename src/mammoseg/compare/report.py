"""From folders of runs to a folder with report.html, tables and figures."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from omegaconf import DictConfig

from mammoseg import validate
from mammoseg.compare import figures, tables
from mammoseg.compare.qualitative_figure import figure2
from mammoseg.errors import UserError
from mammoseg.files import atomic_write
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.reports.page import Section, write_report
from mammoseg.reports.plotting import save_svg_and_png
from mammoseg.reports.table import Table, format_effect, format_p, format_signed
from mammoseg.runs.discovery import RunResults, find_runs
from mammoseg.runs.settings import HEADLINE
from mammoseg.statistics.alignment import AlignedRuns, align_runs
from mammoseg.statistics.comparison import Comparison

log = logging.getLogger(__name__)

PAPERS = ("auto", "none")
UNITS = ("image", "patient")
BY_DATASET = {"inbreast": "table1", "cbis_ddsm": "table2"}


def write_comparison_reports(folders: Sequence[Path], out: Path, cfg: Any) -> list[Path]:
    """Compare the runs in `folders` and write into `out`; one folder below it for each dataset if there are several.

    `cfg`: conf/compare.yaml. Returns the reports written. Raises UserError for runs that cannot be compared.
    """
    check(cfg)
    runs = find_runs(folders)
    datasets = sorted({run.dataset for run in runs})
    if len(datasets) > 1:
        log.warning("the runs are of %d datasets, %s: each is reported by itself", len(datasets), ", ".join(datasets))
    chosen = [[run for run in runs if run.dataset == dataset] for dataset in datasets]
    compared = [compared_runs(some, cfg) for some in chosen]  # before anything is written: one may be refused
    return [
        write(one, out / one.data.dataset if len(datasets) > 1 else out, paper_of(some, cfg), cfg)
        for one, some in zip(compared, chosen, strict=True)
    ]


def single_metric_sections(
    comparison: Comparison, names: Mapping[str, str], shown: Callable[[str, str], list[tuple[Path, str]]]
) -> list[Section]:
    """Sections about DSC or calibration alone. `shown`: a figure's name and text -> the figure, if it was drawn."""
    return [
        Section(
            "By mass size",
            tables=[tables.size_table(comparison, names)],
            figures=shown("mass_size", "DSC against mass size"),
        ),
        Section(
            "Calibration",
            tables=[tables.calibration_table(comparison, names)] if comparison.reliability else [],
            figures=shown("calibration", "Share of mass against predicted probability"),
        ),
        Section(
            "Ranking",
            tables=[tables.ranking_table(comparison, names)],
            figures=shown("ranking", "Pooled DSC by fold and seed"),
        ),
    ]


def check(cfg: Any) -> None:
    """Validate the settings of conf/compare.yaml. Raises UserError."""
    validate.probability("level", cfg.level)
    validate.positive_int("resamples", cfg.resamples, minimum=100)
    validate.positive_int("seed", cfg.seed, minimum=0)
    validate.positive_int("per_density", cfg.per_density)
    validate.one_of("unit", cfg.unit, UNITS)
    validate.one_of("paper", cfg.paper, (*PAPERS, *cfg.published))
    if not isinstance(cfg.baseline, str):
        raise UserError(f"baseline must be the name of a method, got {cfg.baseline}")
    if not isinstance(cfg.names, DictConfig):
        raise UserError(f"names must map methods to names, such as {{au_net: AU-Net}}, got {cfg.names}")


def compared_runs(runs: Sequence[RunResults], cfg: Any) -> Comparison:
    data = align_runs(runs)
    order = list(cfg.names)
    ranked = sorted(data.runs, key=lambda method: (order.index(method) if method in order else len(order), method))
    data = replace(data, runs={method: data.runs[method] for method in ranked})
    return Comparison(data, cfg.resamples, cfg.level, cfg.seed, cfg.unit)


def paper_of(runs: Sequence[RunResults], cfg: Any) -> Mapping[str, Any] | None:
    """The paper's table that these runs repeat, if any."""
    name = cfg.paper
    if name == "auto":
        experiments = {run.rows[0]["experiment"] for run in runs}
        (experiment,) = experiments if len(experiments) == 1 else ("",)
        name = experiment if experiment in cfg.published else BY_DATASET.get(runs[0].dataset, "none")
    return None if name == "none" else cfg.published[name]


def write(comparison: Comparison, out: Path, paper: Mapping[str, Any] | None, cfg: Any) -> Path:
    names = {**{method: method for method in comparison.methods}, **cfg.names}
    drawn = write_figures(comparison, out, names, cfg)
    sections = sections_of(comparison, names, paper, cfg, drawn)
    tables.pairs_table(comparison, names).write(out)
    write_images(comparison, out / "images.csv")
    return write_report(tables.title_of(comparison, paper), sections, out)


def write_figures(comparison: Comparison, out: Path, names: Mapping[str, str], cfg: Any) -> dict[str, Path]:
    place = None if cfg.dataset.store is None else Path(cfg.dataset.store).expanduser()
    made: dict[str, Figure | None] = {
        "figure2": figure2(comparison, names, place, cfg.per_density),
        "metrics": figures.forest(comparison, names),
        "density": figures.by_density(comparison, names),
        "mass_size": figures.by_mass_size(comparison, names),
        "calibration": figures.calibration(comparison, names),
        "ranking": figures.ranking(comparison, names),
        "sweep": figures.sweep(comparison, names),
    }
    paths = {}
    for name, figure in made.items():
        if figure is not None:
            paths[name] = save_svg_and_png(figure, out / name)
    return paths


def sections_of(
    comparison: Comparison,
    names: Mapping[str, str],
    paper: Mapping[str, Any] | None,
    cfg: Any,
    drawn: Mapping[str, Path],
) -> list[Section]:
    def shown(name: str, text: str) -> list[tuple[Path, str]]:
        return [(drawn[name], text)] if name in drawn else []

    return [
        Section("Summary", [*findings(comparison, names, cfg.baseline), *comparison.data.notes]),
        Section("The paper's table" if paper else "Results", tables=[tables.main_table(comparison, names, paper)]),
        Section(
            "Uncertainty",
            tables=[tables.uncertainty_table(comparison, names)],
            figures=shown("metrics", "Each metric by method with its interval"),
        ),
        Section("Images", figures=shown("figure2", "The same images by method, truth green and prediction blue")),
        Section("Paired tests", tables=[replace(tables.pairs_table(comparison, names, ["dsc"]), name="pairs_dsc")]),
        Section(
            "By density",
            tables=[tables.density_table(comparison, names, key) for key in PIXEL_METRICS],
            figures=shown("density", "Each metric by ACR category"),
        ),
        *single_metric_sections(comparison, names, shown),
        Section("θ and α", figures=shown("sweep", "Pooled DSC against theta and alpha")),
        Section("Runs", tables=[runs_table(comparison.data, names)]),
    ]


def findings(comparison: Comparison, names: Mapping[str, str], baseline: str) -> list[str]:
    """The seeds' spread first, then each method against the baseline, claimed only where the interval excludes 0."""
    texts = [tables.how(comparison)]
    spreads = {m: comparison.overall[m]["dsc"].std for m in comparison.methods}
    told = ", ".join(f"{names[m]} {100 * spread:.2f}" for m, spread in spreads.items() if spread == spread)
    if told:
        texts.append(f"Standard deviation of the pooled DSC over folds and seeds, in points: {told}.")
    if once := [names[method] for method, parts in comparison.data.runs.items() if len(parts) == 1]:
        texts.append(
            f"One run only of {', '.join(once)}: what another seed would change is not known, and the intervals "
            "below, which are over patients, do not hold it."
        )
    if baseline not in comparison.methods:
        return [*texts, f"There is no run of the baseline, {names.get(baseline, baseline)}, to compare the others to."]
    for difference in (d for d in comparison.differences if d.metric == "dsc" and baseline in (d.first, d.second)):
        turn = 1 if difference.second == baseline else -1
        other = difference.first if turn == 1 else difference.second
        ends = sorted((turn * difference.low, turn * difference.high))
        verdict = "higher" if ends[0] > 0 else "lower" if ends[1] < 0 else "not told apart, since the interval holds 0"
        texts.append(
            f"{names[other]} against {names[baseline]}: pooled DSC {format_signed(turn * difference.mean)} points "
            f"[{format_signed(ends[0])}, {format_signed(ends[1])}], {verdict}. {comparison.unit.capitalize()} by "
            f"{comparison.unit}: effect {format_effect(turn * difference.test.effect_size)}, p "
            f"{format_p(difference.p_holm, '= ')} (Wilcoxon, Holm)."
        )
    return texts


def runs_table(data: AlignedRuns, names: Mapping[str, str]) -> Table:
    rows = []
    for method, parts in data.runs.items():
        for (fold, seed), run in parts.items():
            settings = [run.setting(key, "–") for key in HEADLINE]
            minutes = "–" if run.minutes is None else f"{run.minutes:.1f}"
            rows.append([names[method], fold or "–", seed, str(len(run.rows)), *map(str, settings), minutes])
    columns = ["Method", "fold", "seed", "test images", *HEADLINE, "minutes"]
    return Table("runs", "Runs", columns, rows)


def write_images(comparison: Comparison, path: Path) -> None:
    """Each test image's metrics by method, the mean over seeds: what the paired tests saw."""
    with atomic_write(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("case", "patient", "density", "mass_pixels", "method", *PIXEL_METRICS))
        for method, values in comparison.by_image.items():
            lines_of = zip(*(values[key].tolist() for key in PIXEL_METRICS), strict=True)
            for row, pixels, line in zip(comparison.rows, comparison.mass_size.tolist(), lines_of, strict=True):
                table.writerow((row["case"], row["patient"], row["density"], pixels, method, *line))
