"""Writing of test results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from mammoseg.data.store import Case
from mammoseg.metrics import quantise_probs
from mammoseg.metrics.detection import count_detections
from mammoseg.runs.predictions import (
    CALIBRATION_FILE,
    DETECTION_FILE,
    PREDICTIONS_FILE,
    Detections,
    write_calibration,
    write_detections,
    write_predictions,
)
from mammoseg.runs.results import NEGATIVE_COLUMNS, SOURCE_COLUMN, has_mass, make_row, write_results


class ResultsWriter(lightning.Callback):
    """Collects the outputs of `test_step` and writes results.csv, predictions.npz and further files at the end.

    Rows are in the order of the store for any number of processes.

    Args:
        path: Path of results.csv; the other files are written to the same folder.
        run_info: Identity of the run, the columns that are constant in results.csv.
        more_columns: Values of further columns for each image, by row of the store; empty if there are none.
    """

    def __init__(
        self, path: Path, run_info: Mapping[str, Any], more_columns: Mapping[int, Mapping[str, Any]] | None = None
    ) -> None:
        self.path = path
        self.run_info = dict(run_info)
        self.more_columns = dict(more_columns or {})
        self.reset()

    def reset(self) -> None:
        """Delete the collected outputs."""
        # Keys are indices of images in the store.
        self.counts: dict[int, Tensor] = {}
        self.packed_masks: dict[int, NDArray[np.uint8]] = {}
        self.quantised_probs: dict[int, NDArray[np.uint8]] = {}
        self.reliability: dict[int, Tensor] = {}  # by the first image of each batch
        self.detections: dict[int, tuple[int, int, int]] = {}  # masses, found masses, false positives
        self.max_probs: dict[int, float] = {}

    @override
    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Delete the outputs of previous tests."""
        self.reset()

    @override
    def on_test_batch_end(  # type: ignore[override]
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Mapping[str, Tensor] | None,
        batch: Mapping[str, Tensor],
        *_: Any,
    ) -> None:
        """Collect the outputs of a batch."""
        if outputs is None:  # a padding batch
            return
        cases = outputs["case"].tolist()
        self.counts.update(zip(cases, outputs["counts"].cpu(), strict=True))
        packed = np.packbits(outputs["mask"][:, 0].cpu().numpy(), axis=2)
        self.packed_masks.update(zip(cases, packed, strict=True))
        quantised = quantise_probs(outputs["logits"])[:, 0].cpu().numpy()
        self.quantised_probs.update(zip(cases, quantised, strict=True))
        self.reliability[cases[0]] = outputs["reliability"].cpu()
        # In float64, in which large logits still have different probabilities.
        max_probs = torch.sigmoid(outputs["logits"].amax(dim=(1, 2, 3)).double())
        self.max_probs.update(zip(cases, max_probs.tolist(), strict=True))
        probs = torch.sigmoid(outputs["logits"].float())[:, 0].cpu().numpy()
        masks = batch["mask"][:, 0].cpu().numpy() > 0
        for case, prob, mask in zip(cases, probs, masks, strict=True):
            self.detections[case] = count_detections(prob, mask, pl_module.threshold)  # type: ignore[arg-type]

    @override
    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Merge the outputs of all ranks."""
        if trainer.world_size > 1:
            gathered: list[Any] = [None] * trainer.world_size
            collected: tuple[dict[int, Any], ...] = (
                self.counts,
                self.packed_masks,
                self.quantised_probs,
                self.reliability,
                self.detections,
                self.max_probs,
            )
            torch.distributed.all_gather_object(gathered, collected)
            for merged, *shards in zip(collected, *gathered, strict=True):
                for shard in shards:
                    merged.update(shard)

    @rank_zero_only
    @override
    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the files."""
        cases: Sequence[Case] = trainer.datamodule.store.cases  # type: ignore[attr-defined]
        indices = sorted(self.counts)
        write_predictions(
            self.path.with_name(PREDICTIONS_FILE),
            [cases[index].case for index in indices],
            [self.packed_masks[index] for index in indices],
            [self.quantised_probs[index] for index in indices],
            pl_module.threshold,  # type: ignore[arg-type]
        )
        # Summation in the order of the store makes rounding independent of the number of ranks.
        reliability = torch.stack([self.reliability[index] for index in sorted(self.reliability)]).sum(dim=0)
        write_calibration(self.path.with_name(CALIBRATION_FILE), reliability.numpy())
        write_detections(
            self.path.with_name(DETECTION_FILE),
            [Detections(cases[index].case, *self.detections[index]) for index in indices],
        )
        rows = [make_row(self.run_info, cases[index], self.counts[index].tolist()) for index in indices]
        with_negatives = not all(map(has_mass, rows))
        more = [self._more_columns(index, cases[index], with_negatives) for index in indices]
        write_results(self.path, [{**row, **added} for row, added in zip(rows, more, strict=True)], list(more[0]))

    def _more_columns(self, index: int, case: Case, with_negatives: bool) -> dict[str, Any]:
        """Return the columns of an image that only some results have, by name."""
        negative_outcomes = (self.detections[index][2], self.max_probs[index])
        negatives = dict(zip(NEGATIVE_COLUMNS, negative_outcomes, strict=True)) if with_negatives else {}
        source = {SOURCE_COLUMN: case.source} if case.source else {}
        return {**negatives, **source, **self.more_columns.get(index, {})}
