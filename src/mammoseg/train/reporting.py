"""Tables and figures of a tested run."""

from __future__ import annotations

from collections.abc import Sequence

from mammoseg.data.store import PreparedStore
from mammoseg.files import atomic_write_text
from mammoseg.loggers.base import RunLogger
from mammoseg.reports import run_figures, run_summary
from mammoseg.runs import results
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.predictions import read_predictions


def write_reports(folder: RunFolder, store: PreparedStore, run_loggers: Sequence[RunLogger]) -> None:
    """Write the summary and the figures of a run, log example images and print the summary.

    Args:
        folder: Run folder with results.csv, metrics.csv and predictions.npz.
        store: Prepared images.
        run_loggers: Experiment loggers, which receive the example images.
    """
    rows = results.read_results(folder.results)
    atomic_write_text(folder.summary, run_summary.summary_markdown(rows))
    run_figures.plot_learning_curves(folder.metrics, folder.curves)
    examples = run_figures.select_examples(rows, read_predictions(folder.predictions), store)
    run_figures.plot_overlays(examples, folder.overlays)
    for run_logger in run_loggers:
        run_logger.log_examples(examples)
        run_logger.log_results(rows)
    run_summary.print_summary(rows, folder.path)
