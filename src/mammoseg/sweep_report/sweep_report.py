"""Write the report of a hyperparameter sweep: best settings, effect of each setting, interaction with alpha."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mammoseg import validate
from mammoseg.reports.narrow_figures import narrow_png
from mammoseg.reports.page import ReportFigure, Section, write_report
from mammoseg.reports.plotting import save_svg_and_png
from mammoseg.reports.table import MISSING, Table, format_count, format_effect, format_p, percent
from mammoseg.sweep_report import sweep_figures
from mammoseg.sweep_report.sweep_discovery import find_sweeps
from mammoseg.sweep_report.sweeps import ALPHA, Sweep


def write_sweep_report(folders: Sequence[Path], output: Path, top: int) -> Path:
    """Write report.html, report.md, tables and figures of the sweeps in `folders`.

    Args:
        folders: Run folders, or folders that contain them.
        output: Output folder.
        top: Number of rows in the table of the best settings.

    Returns:
        Path of report.html.

    Raises:
        UserError: If there is no finished run, or if the runs do not differ in any setting.
    """
    validate.positive_int("top", top)
    sweeps = find_sweeps(folders)
    sections = []
    for i, sweep in enumerate(sweeps, start=1):
        title_prefix = f"{sweep.name}: " if len(sweeps) > 1 else ""
        file_prefix = f"{i}_" if len(sweeps) > 1 else ""
        figures = write_figures(sweep, output, file_prefix)
        sections += [
            Section(f"{title_prefix}Best settings", [summary(sweep)], [best_table(sweep, top, file_prefix)]),
            Section(
                f"{title_prefix}Effect of each setting",
                tables=[effects_table(sweep, file_prefix)],
                figures=[figure for name, figure in figures.items() if name == "effects"],
            ),
            Section(
                f"{title_prefix}Interaction with α",
                tables=[by_alpha_table(sweep, file_prefix)] if sweep.best_by_alpha else [],
                figures=[figure for name, figure in figures.items() if name != "effects"],
            ),
        ]
        all_table(sweep, file_prefix).write(output)
    title = f"Sweep over {', '.join(sorted({name for sweep in sweeps for name in sweep.names}))}"
    return write_report(title, sections, output)


def write_figures(sweep: Sweep, output: Path, prefix: str) -> dict[str, ReportFigure]:
    """Write the figures of a sweep as SVG and PNG.

    Args:
        sweep: The sweep.
        output: Output folder.
        prefix: Prefix of the file names.

    Returns:
        Figures by name.
    """
    figures: dict[str, tuple[Figure | None, str]] = {
        "effects": (sweep_figures.effects(sweep), "Validation DSC against each setting, with means in black"),
        "interaction": (sweep_figures.interaction(sweep), "Validation DSC by alpha and every other setting"),
        "grid": (sweep_figures.theta_alpha_heatmap(sweep), "Validation DSC by theta and alpha"),
    }
    return {
        name: ReportFigure(save_svg_and_png(figure, output / f"{prefix}{name}"), text, narrow_png(figure))
        for name, (figure, text) in figures.items()
        if figure is not None
    }


def summary(sweep: Sweep) -> str:
    """Summarise a sweep in a few sentences: numbers of combinations and runs, best settings, missing replicates."""
    n_runs, n_pruned = sum(result.runs for result in sweep.results), sum(result.pruned for result in sweep.results)
    sentences = [
        f"{sweep.name}: {len(sweep.results)} combinations of settings in {n_runs} runs ({n_pruned} pruned).",
        best_sentence(sweep),
    ]
    if sweep.is_unreplicated:
        sentences.append(f"Each combination was run once, so the variation over {sweep.replicated_over} is unknown.")
    if sweep.is_unbalanced:
        sentences.append(
            f"The combinations were not run with the same {sweep.replicated_over}, so differences between them include "
            "the variation between folds and seeds."
        )
    return " ".join(sentences)


def best_sentence(sweep: Sweep) -> str:
    """Describe the combinations with the highest validation DSC, as displayed with two decimals."""
    highest = percent(sweep.completed[0].validation)
    best = [result for result in sweep.completed if percent(result.validation) == highest]
    if len(best) == len(sweep.completed) > 1:
        return f"All combinations that were not pruned have the same validation DSC, {highest} %."
    values = "; ".join(format_values(sweep, result.values) for result in best)
    tied = f" by {len(best)} combinations" if len(best) > 1 else ""
    return f"Highest validation DSC, {highest} %{tied}: {values}."


def format_values(sweep: Sweep, values: Sequence[float]) -> str:
    """Format the values of all settings, such as "θ1=0.8, α=2"."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in zip(sweep.names, values, strict=True))


def format_value(value: float) -> str:
    """Format the value of a setting; NaN stands for null and for a setting that a run does not have."""
    return MISSING if math.isnan(value) else f"{value:.3g}"


def best_table(sweep: Sweep, top: int, prefix: str) -> Table:
    """Create the table of the `top` combinations with the highest validation DSC."""
    return results_table(sweep, f"{prefix}best", f"Top {min(top, len(sweep.results))} combinations of settings", top)


def all_table(sweep: Sweep, prefix: str) -> Table:
    """Create the table of all combinations of settings."""
    return results_table(sweep, f"{prefix}settings", "All combinations of settings", len(sweep.results))


def results_table(sweep: Sweep, name: str, title: str, top: int) -> Table:
    """Create a table with one row per combination of settings, best first, for the first `top` combinations."""
    rows = [
        [
            *map(format_value, result.values),
            percent(result.validation),
            percent(result.std),
            percent(result.test),
            str(result.runs),
            "pruned" if result.pruned else "",
        ]
        for result in sweep.results[:top]
    ]
    columns = [*sweep.names, "validation DSC", "sd", "test DSC", "runs", "note"]
    note = (
        "DSC in %; mean and standard deviation (sd) over folds and seeds. Ranked by validation DSC; test DSC is not "
        "used for selection. –: null, not set or not available."
    )
    return Table(name, title, columns, rows, notes=[note])


def effects_table(sweep: Sweep, prefix: str) -> Table:
    """Create the table of the marginal effect of each setting."""
    rows = []
    for name, effect in zip(sweep.names, sweep.effects, strict=True):
        rows.append(
            [
                name,
                MISSING if math.isnan(effect.low) else f"{effect.low:.3g} to {effect.high:.3g}",
                format_effect(effect.rho),
                format_p(effect.p),
                percent(effect.spread),
                format_value(effect.best) if percent(effect.spread) != percent(0) else MISSING,
            ]
        )
    columns = ["setting", "range", "Spearman's ρ with DSC", "p", "max − min of means, points", "best at"]
    note = (
        f"Computed over {format_count(len(sweep.completed), 'combination')} of settings without pruned runs. Means: "
        "DSC averaged over the other settings, for each value or, if there are more than eight values, for each "
        "quintile. p is not corrected "
        "for multiple testing."
    )
    return Table(f"{prefix}effects", "Effect of each setting on validation DSC", columns, rows, notes=[note])


def by_alpha_table(sweep: Sweep, prefix: str) -> Table:
    """Create the table of the best combination for each value of alpha."""
    others = [name for name in sweep.names if name != ALPHA]
    rows = []
    for alpha, result in sweep.best_by_alpha.items():
        values = [format_value(v) for name, v in zip(sweep.names, result.values, strict=True) if name != ALPHA]
        rows.append([format_value(alpha), *values, percent(result.validation), percent(result.test)])
    return Table(f"{prefix}by_alpha", "Best settings for each α", [ALPHA, *others, "validation DSC", "test DSC"], rows)
