"""TensorBoard: the dashboard for people without an account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.image import imread

from mammoseg.errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch.loggers import TensorBoardLogger

    from mammoseg.reports.run_figures import Example


class TensorBoardReport:
    """Event files of one training run in `folder`/tensorboard; `tensorboard --logdir outputs` shows them.

    `about`: run, dataset, method and so on, written as text. Raises UserError if tensorboard is not installed.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.about = dict(about)
        self.logger: TensorBoardLogger | None = None

    def loggers(self) -> list[TensorBoardLogger]:
        """The Lightning logger, made at the first call."""
        if self.logger is None:
            from lightning.pytorch.loggers import TensorBoardLogger

            try:
                self.logger = TensorBoardLogger(self.folder, name="tensorboard", version="")
                told = "\n".join(f"{name}: {value}  " for name, value in self.about.items())
                self.logger.experiment.add_text("about", told)
            except ModuleNotFoundError as error:
                raise UserError("logger=tensorboard needs tensorboard; pip install 'mammoseg[tensorboard]'") from error
        return [self.logger]

    def images(self, shown: Sequence[Example]) -> None:
        """The overlays of the tested examples, as drawn in overlays.png."""
        picture = self.folder / "overlays.png"
        if self.logger is not None and picture.is_file():
            self.logger.experiment.add_image("test/overlays", imread(picture)[..., :3], dataformats="HWC")

    def finish(self) -> None:
        if self.logger is not None:
            self.logger.experiment.close()
            self.logger = None
