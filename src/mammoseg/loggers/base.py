"""Interface of experiment loggers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from mammoseg.reports.run_figures import Example


class RunLogger(Protocol):
    """Experiment logger of one training run: Lightning's loggers, plus example images and an end.

    An entry of `cfg.logger` with a `_target_` is called once per run with the keyword arguments `folder` (the run
    folder; nothing is written outside it), `run_info` (run, dataset, method, model, loss, fold, seed, experiment) and
    `settings` (the run's settings without paths of the user's machine), besides those in its yaml. The constructor
    validates its arguments and raises UserError; files are created by `loggers()`, which only the process of rank 0
    calls.
    """

    def loggers(self) -> list[Logger]:
        """Lightning loggers to pass to the trainer.

        Training and testing call it once each and must get the same objects.
        """
        ...

    def log_examples(self, examples: Sequence[Example]) -> None:
        """Log tested images with mask and predicted probabilities, each (H, W), after overlays.png is written."""
        ...

    def close(self) -> None:
        """Flush and release everything; called on errors too, and before the next run of a sweep begins."""
        ...
