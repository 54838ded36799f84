"""Report of a hyper-parameter sweep: best settings, sensitivity to each, interaction with alpha."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mammoseg import validate
from mammoseg.reports.page import Section, write_report
from mammoseg.reports.plotting import save_svg_and_png
from mammoseg.reports.table import Table, percent
from mammoseg.sweep_report import sweep_figures
from mammoseg.sweep_report.sweeps import ALPHA, Sweep, find_sweeps


def write_sweep_report(folders: Sequence[Path], out: Path, top: int) -> Path:
    """Write report.html, report.md, tables and figures of the sweeps in `folders`.

    Args:
        folders: Run folders, or folders that contain them.
        out: Output folder.
        top: Number of settings in the table of the best.

    Returns:
        The path of report.html.

    Raises:
        UserError: If there is no finished run, or if the runs differ in no setting.
    """
    validate.positive_int("top", top)
    sweeps = find_sweeps(folders)
    sections = []
    for number, sweep in enumerate(sweeps, start=1):
        several = f"{sweep.name}: " if len(sweeps) > 1 else ""
        prefix = f"{number}_" if len(sweeps) > 1 else ""
        drawn = write_figures(sweep, out, prefix)
        sections += [
            Section(f"{several}Best settings", [summary(sweep)], [best_table(sweep, top, prefix)]),
            Section(
                f"{several}Sensitivity",
                tables=[sensitivity_table(sweep, prefix)],
                figures=[(path, text) for name, path, text in drawn if name == "sensitivity"],
            ),
            Section(
                f"{several}Interaction with α",
                tables=[by_alpha_table(sweep, prefix)] if sweep.best_by_alpha else [],
                figures=[(path, text) for name, path, text in drawn if name != "sensitivity"],
            ),
        ]
        all_table(sweep, prefix).write(out)
    title = f"Sweep over {', '.join(sorted({name for sweep in sweeps for name in sweep.names}))}"
    return write_report(title, sections, out)


def write_figures(sweep: Sweep, out: Path, prefix: str) -> list[tuple[str, Path, str]]:
    """Write the figures of a sweep; returns (name, PNG file, alternative text) of each."""
    figures: dict[str, tuple[Figure | None, str]] = {
        "sensitivity": (sweep_figures.sensitivity(sweep), "Validation DSC against each setting; means in black"),
        "interaction": (sweep_figures.interaction(sweep), "Validation DSC by alpha and each other setting"),
        "grid": (sweep_figures.theta_alpha_heatmap(sweep), "Validation DSC by theta and alpha"),
    }
    return [
        (name, save_svg_and_png(figure, out / f"{prefix}{name}"), text)
        for name, (figure, text) in figures.items()
        if figure is not None
    ]


def summary(sweep: Sweep) -> str:
    best = sweep.results[0]
    runs, pruned = sum(result.runs for result in sweep.results), sum(result.pruned for result in sweep.results)
    sentences = [
        f"{sweep.name}: {len(sweep.results)} settings in {runs} runs, {pruned} of them pruned.",
        f"Best by validation DSC, {percent(best.validation)} %: {format_values(sweep, best.values)}.",
    ]
    if sweep.is_unreplicated:
        sentences.append(f"Each setting was run once, so its variation over {sweep.replicated_over} is unknown.")
    return " ".join(sentences)


def format_values(sweep: Sweep, values: Sequence[float]) -> str:
    return ", ".join(f"{name}={value:.3g}" for name, value in zip(sweep.names, values, strict=True))


def best_table(sweep: Sweep, top: int, prefix: str) -> Table:
    return results_table(sweep, f"{prefix}best", f"The {min(top, len(sweep.results))} best settings", top)


def all_table(sweep: Sweep, prefix: str) -> Table:
    return results_table(sweep, f"{prefix}settings", "All settings", len(sweep.results))


def results_table(sweep: Sweep, name: str, title: str, top: int) -> Table:
    rows = [
        [
            *(f"{value:.3g}" for value in result.values),
            percent(result.validation),
            percent(result.deviation),
            percent(result.test),
            str(result.runs),
            "pruned" if result.pruned else "",
        ]
        for result in sweep.results[:top]
    ]
    columns = [*sweep.names, "validation DSC", "sd", "test DSC", "runs", "note"]
    note = "In %; mean and sd over folds and seeds. Ranked by validation DSC; the test DSC is not used for selection."
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
        f"Over {len(sweep.completed)} settings that were not pruned. Spread: highest minus lowest mean DSC over the "
        "values, or over their quintiles if there are more than eight. These are averages over the other settings, "
        "which vary as well; p is not corrected for the number of settings tested."
    )
    return Table(f"{prefix}sensitivity", "Effect of each setting on validation DSC", columns, rows, notes=[note])


def by_alpha_table(sweep: Sweep, prefix: str) -> Table:
    others = [name for name in sweep.names if name != ALPHA]
    rows = []
    for alpha, result in sweep.best_by_alpha.items():
        values = [f"{v:.3g}" for name, v in zip(sweep.names, result.values, strict=True) if name != ALPHA]
        rows.append([f"{alpha:.3g}", *values, percent(result.validation), percent(result.test)])
    return Table(f"{prefix}by_alpha", "The best for each α", [ALPHA, *others, "validation DSC", "test DSC"], rows)
