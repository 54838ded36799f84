"""Base class of the callbacks that evaluate predictions at the original resolution of the images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mammoseg.data.dataset import DatasetSpec
from mammoseg.data.preprocessing.inverse import InversePreprocessing
from mammoseg.data.readers.mammogram import Mammogram
from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError
from mammoseg.terminal import Progress


class FullResolutionCallback(lightning.Callback):
    """Resamples predictions to the original pixels, and evaluates each image in `evaluate_image`.

    Subclasses call `stop` at the end of the test.

    Args:
        dataset: Dataset of the prepared images, from which the original annotations are read.
        title: Title of the progress display.
    """

    def __init__(self, dataset: DatasetSpec, title: str) -> None:
        self.mammograms = dataset.mammograms()
        self.title = title
        self.progress: Progress | None = None

    def on_test_start(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        """Start the progress display."""
        datamodule = trainer.datamodule  # type: ignore[attr-defined]  # set by Trainer.test, but not declared
        self.store: PreparedStore = datamodule.store
        self.progress = Progress(self.title, datamodule.n_test_images)
        self.progress.__enter__()

    def on_test_batch_end(  # type: ignore[override]  # narrower types than Lightning's
        self,
        _trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Mapping[str, Tensor],
        *_: Any,
    ) -> None:
        """Evaluate the images of a batch.

        Args:
            pl_module: The tested module, whose threshold is used.
            outputs: Outputs of its `test_step`: "logits" (B, 1, H, W) and "case" (B,), indices in the store.
        """
        probs = torch.sigmoid(outputs["logits"].float())[:, 0].cpu().numpy()
        for index, prob in zip(outputs["case"].tolist(), probs, strict=True):
            self.evaluate_image(index, prob, pl_module.threshold)  # type: ignore[arg-type]  # a float, not a submodule
            if self.progress is not None:
                self.progress.advance()

    @abstractmethod
    def evaluate_image(self, index: int, prob_map: NDArray[np.float32], threshold: float) -> None:
        """Evaluate one image.

        Args:
            index: Index of the image in the store.
            prob_map: Probabilities at the resolution of the network, shape (size, size).
            threshold: Probability above which a pixel is predicted as mass.
        """

    def mammogram(self, index: int) -> Mammogram:
        """Return the image of a row of the store.

        Raises:
            UserError: If it is no longer in the dataset.
        """
        name = self.store.cases[index].case
        if (mammogram := self.mammograms.get(name)) is None:
            raise UserError(f"{name}: no longer in the dataset; set dataset.root to the folder used in training")
        return mammogram

    def original_probabilities(self, index: int, prob_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resample the prediction of an image to its original resolution; see `evaluate_image`.

        Returns:
            Probabilities of shape (height, width).
        """
        return InversePreprocessing.from_case(self.store.cases[index], self.store.about["aspect"]).to_original(prob_map)

    def stop(self) -> None:
        """Stop the progress display, if it was started."""
        if self.progress is not None:
            self.progress.__exit__(None, None, None)

    def on_exception(self, *_: Any, **__: Any) -> None:
        """Stop the progress display."""
        self.stop()
