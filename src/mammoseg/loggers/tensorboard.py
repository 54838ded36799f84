"""TensorBoard logger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.image import imread
from typing_extensions import override

from mammoseg.errors import UserError
from mammoseg.loggers.base import RunLogger

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger, TensorBoardLogger

    from mammoseg.reports.run_figures import Example


class TensorBoardRunLogger(RunLogger):
    """Logger that writes event files to `folder`/tensorboard.

    Args:
        folder: Run folder.
        run_info: Identity of the run, logged as text.
        settings: Unused.

    Raises:
        UserError: From `loggers`, if tensorboard is not installed.
    """

    def __init__(self, folder: Path, run_info: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> None:
        del settings
        self.folder = folder
        self.run_info = dict(run_info)
        self.logger: TensorBoardLogger | None = None

    @override
    def loggers(self) -> list[Logger]:
        """See `RunLogger.loggers`; creates the event file."""
        if self.logger is None:
            from lightning.pytorch.loggers import TensorBoardLogger

            try:
                self.logger = TensorBoardLogger(self.folder, name="tensorboard", version="")
                text = "\n".join(f"{name}: {value}  " for name, value in self.run_info.items())
                self.logger.experiment.add_text("run_info", text)
            except ModuleNotFoundError as error:
                raise UserError("logger=tensorboard requires tensorboard; pip install '.[tensorboard]'") from error
        return [self.logger]

    @override
    def log_examples(self, examples: Sequence[Example]) -> None:
        """Log overlays.png, a figure of the examples."""
        overlays = self.folder / "overlays.png"
        if self.logger is not None and overlays.is_file():
            self.logger.experiment.add_image("test/overlays", imread(overlays)[..., :3], dataformats="HWC")

    @override
    def close(self) -> None:
        """Close the event file."""
        if self.logger is not None:
            self.logger.experiment.close()
            self.logger = None
