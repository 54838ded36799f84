"""From folders of runs to a report of the sweep that they are: best settings, sensitivity, interaction with alpha."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mammoseg import validate
from mammoseg.reports.page import Section, write_report
from mammoseg.reports.plotting import save_svg_and_png
from mammoseg.reports.table import Table, percent
from mammoseg.sweep_report import figures as sweep_figures
from mammoseg.sweep_report.sweeps import ALPHA, Sweep, find


def publish(folders: Sequence[Path], out: Path, top: int) -> Path:
    """Write report.html, report.md, tables and figures into `out`; returns the HTML.

    Raises UserError where there is no finished run, or where the runs differ in nothing.
    """
    validate.positive_int("top", top)
    sweeps = find(folders)
    sections = []
    for number, sweep in enumerate(sweeps, start=1):
        several = f"{sweep.name}: " if len(sweeps) > 1 else ""
        prefix = f"{number}_" if len(sweeps) > 1 else ""
        drawn = write_figures(sweep, out, prefix)
        sections += [
            Section(f"{several}Best settings", [found(sweep)], [best_table(sweep, top, prefix)]),
            Section(
                f"{several}Sensitivity",
                tables=[sensitivity_table(sweep, prefix)],
                figures=[(path, text) for name, path, text in drawn if name == "sensitivity"],
            ),
            Section(
                f"{several}Interaction with α",
                tables=[by_alpha_table(sweep, prefix)] if sweep.alphas else [],
                figures=[(path, text) for name, path, text in drawn if name != "sensitivity"],
            ),
        ]
        all_table(sweep, prefix).write(out)
    title = f"Sweep over {', '.join(sorted({name for sweep in sweeps for name in sweep.names}))}"
    return write_report(title, sections, out)


def write_figures(sweep: Sweep, out: Path, prefix: str) -> list[tuple[str, Path, str]]:
    """(name, file, what it shows)"""
    made: dict[str, tuple[Figure | None, str]] = {
        "sensitivity": (sweep_figures.sensitivity(sweep), "Validation DSC against each setting; means in black"),
        "interaction": (sweep_figures.interaction(sweep), "Validation DSC by alpha and each other setting"),
        "grid": (sweep_figures.grid_of(sweep), "Validation DSC by theta and alpha"),
    }
    drawn = []
    for name, (figure, text) in made.items():
        if figure is not None:
            drawn.append((name, save_svg_and_png(figure, out / f"{prefix}{name}"), text))
    return drawn


def found(sweep: Sweep) -> str:
    best = sweep.points[0]
    runs, pruned = sum(point.runs for point in sweep.points), sum(point.pruned for point in sweep.points)
    again = f" One run of each setting: how much another {sweep.again} would change is not known." * sweep.once
    return (
        f"{sweep.name}: {len(sweep.points)} settings in {runs} runs, {pruned} of the settings pruned. Best by "
        f"validation DSC, {percent(best.validation)} %: {told(sweep, best.values)}.{again}"
    )


def told(sweep: Sweep, values: Sequence[float]) -> str:
    return ", ".join(f"{name}={value:.3g}" for name, value in zip(sweep.names, values, strict=True))


def best_table(sweep: Sweep, top: int, prefix: str) -> Table:
    return points_table(sweep, f"{prefix}best", f"The {min(top, len(sweep.points))} best settings", top)


def all_table(sweep: Sweep, prefix: str) -> Table:
    return points_table(sweep, f"{prefix}settings", "All settings", len(sweep.points))


def points_table(sweep: Sweep, name: str, title: str, top: int) -> Table:
    rows = [
        [
            *(f"{value:.3g}" for value in point.values),
            percent(point.validation),
            percent(point.deviation),
            percent(point.test),
            str(point.runs),
            "pruned" if point.pruned else "",
        ]
        for point in sweep.points[:top]
    ]
    columns = [*sweep.names, "validation DSC", "sd", "test DSC", "runs", "note"]
    note = "In %; mean over folds and seeds, sd over them. Ranked by validation; the test DSC chooses nothing."
    return Table(name, title, columns, rows, notes=[note])


def sensitivity_table(sweep: Sweep, prefix: str) -> Table:
    rows = []
    for name, effect in zip(sweep.names, sweep.sensitivities, strict=True):
        rows.append(
            [
                name,
                f"{effect.low:.3g} to {effect.high:.3g}",
                f"{effect.rho:+.2f}" if effect.rho == effect.rho else "–",
                f"{effect.p:.3f}" if effect.p == effect.p else "–",
                percent(effect.spread),
                f"{effect.best:.3g}",
            ]
        )
    columns = ["setting", "range", "Spearman's ρ with DSC", "p", "spread of means, points", "best at"]
    note = (
        f"Over {len(sweep.whole)} settings that were trained to the end. Spread: highest less lowest mean DSC over the "
        "values, or over fifths of them where there are more than eight. Other settings vary along, so these are "
        "averages over them; p is not corrected for the number of settings looked at."
    )
    return Table(f"{prefix}sensitivity", "What each setting does to validation DSC", columns, rows, notes=[note])


def by_alpha_table(sweep: Sweep, prefix: str) -> Table:
    others = [name for name in sweep.names if name != ALPHA]
    rows = []
    for alpha, point in sweep.alphas.items():
        values = [f"{v:.3g}" for name, v in zip(sweep.names, point.values, strict=True) if name != ALPHA]
        rows.append([f"{alpha:.3g}", *values, percent(point.validation), percent(point.test)])
    return Table(f"{prefix}by_alpha", "The best for each α", [ALPHA, *others, "validation DSC", "test DSC"], rows)
