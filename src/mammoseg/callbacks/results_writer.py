"""Callback that writes the results of a test."""

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

from mammoseg.data.store import Case
from mammoseg.metrics import quantise_probs
from mammoseg.runs.predictions import CALIBRATION_FILE, PREDICTIONS_FILE, write_calibration, write_predictions
from mammoseg.runs.results import make_row, write_results


class ResultsWriter(lightning.Callback):
    """Collects what `test_step` returns and writes results.csv, predictions.npz and calibration.csv when testing ends.

    Rows are in the order of the store, whichever process tested which image.

    Args:
        path: Of results.csv; the other files are written to the same folder.
        run_info: Run, dataset, method, fold, seed and so on: the columns that are the same for each row.
    """

    def __init__(self, path: Path, run_info: Mapping[str, Any]) -> None:
        self.path = path
        self.run_info = dict(run_info)
        self.reset()

    def reset(self) -> None:
        """Forget what was collected. Keys are rows of the store."""
        self.counts: dict[int, Tensor] = {}
        self.packed_masks: dict[int, NDArray[np.uint8]] = {}
        self.quantised_probs: dict[int, NDArray[np.uint8]] = {}
        self.reliability: dict[int, Tensor] = {}  # by the first image of a batch

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.reset()

    def on_test_batch_end(  # type: ignore[override]
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Mapping[str, Tensor] | None,
        *_: Any,
    ) -> None:
        if outputs is None:  # a padding batch: this rank had no image
            return
        cases = outputs["case"].tolist()
        self.counts.update(zip(cases, outputs["counts"].cpu(), strict=True))
        packed = np.packbits(outputs["mask"][:, 0].cpu().numpy(), axis=2)
        self.packed_masks.update(zip(cases, packed, strict=True))
        quantised = quantise_probs(outputs["logits"])[:, 0].cpu().numpy()
        self.quantised_probs.update(zip(cases, quantised, strict=True))
        self.reliability[cases[0]] = outputs["reliability"].cpu()

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Merge the shards of all ranks."""
        if trainer.world_size > 1:
            gathered: list[Any] = [None] * trainer.world_size
            collected: tuple[dict[int, Any], ...] = (
                self.counts,
                self.packed_masks,
                self.quantised_probs,
                self.reliability,
            )
            torch.distributed.all_gather_object(gathered, collected)
            for merged, *shards in zip(collected, *gathered, strict=True):
                for shard in shards:
                    merged.update(shard)

    @rank_zero_only
    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        cases: Sequence[Case] = trainer.datamodule.store.cases  # type: ignore[attr-defined]
        numbers = sorted(self.counts)
        write_predictions(
            self.path.with_name(PREDICTIONS_FILE),
            [cases[n].case for n in numbers],
            [self.packed_masks[n] for n in numbers],
            [self.quantised_probs[n] for n in numbers],
            pl_module.threshold,  # type: ignore[arg-type]
        )
        # Summed in the store's order, whichever rank had which batch, so the last digit does not depend on it.
        reliability = torch.stack([self.reliability[n] for n in sorted(self.reliability)]).sum(dim=0)
        write_calibration(self.path.with_name(CALIBRATION_FILE), reliability.numpy())
        write_results(self.path, [make_row(self.run_info, cases[n], self.counts[n].tolist()) for n in numbers])
