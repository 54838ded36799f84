"""Interface of experiment loggers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from mammoseg.reports.run_figures import Example
    from mammoseg.runs.results import ResultRow


class RunLogger(Protocol):
    """Experiment logger of one training run.

    The `_target_` of an entry of `cfg.logger` is called once per run with its other keys and the keyword arguments
    `folder` (the run folder, the only location to write to), `run_info` (run, dataset, method, model, loss, fold, seed,
    experiment) and `settings` (public settings of the run). The constructor validates its arguments and raises
    UserError. Files are created by `loggers()`, which only the process of rank 0 calls.
    """

    def loggers(self) -> list[Logger]:
        """Return the Lightning loggers of the trainer.

        Training and testing call this method once each; both calls must return the same objects.
        """
        ...

    def log_examples(self, examples: Sequence[Example]) -> None:
        """Log example images of the test set, after overlays.png is written.

        Args:
            examples: Examples with image, mask and predicted probabilities, each of shape (H, W).
        """
        ...

    def log_results(self, rows: Sequence[ResultRow]) -> None:
        """Log the metrics of each test image; by default, nothing.

        Args:
            rows: Rows of results.csv.
        """

    def close(self) -> None:
        """Flush and close all files. Called at the end of a run, also after an error; can be called twice."""
        ...
