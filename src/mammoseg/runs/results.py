"""results.csv: one row per tested image. Everything in a report can be recomputed from it."""

from __future__ import annotations

import csv
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch import Tensor

from mammoseg.data.store import Case
from mammoseg.errors import UserError
from mammoseg.metrics import FORMULAS, levels

PREDICTIONS = "predictions.npz"
CALIBRATION = "calibration.csv"
COUNTS = ("tp", "fp", "fn", "tn")
COLUMNS = (
    *("run", "experiment", "dataset", "method", "model", "loss", "fold", "seed"),
    *("case", "patient", "side", "view", "density"),
    *COUNTS,
    *FORMULAS,
)
Row = dict[str, Any]


class ResultsWriter(lightning.Callback):
    """Collects what `test_step` returns and writes results.csv when the test ends, whole or not at all.

    Beside it: predictions.npz, the predicted masks and probabilities, and calibration.csv, what the latter were worth.
    `about`: run, dataset, method, fold, seed and so on, the same for each row. Rows stand in the store's order.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self.about = dict(about)
        self.start()

    def start(self) -> None:
        self.counts: dict[int, Tensor] = {}
        self.masks: dict[int, NDArray[np.uint8]] = {}
        self.levels: dict[int, NDArray[np.uint8]] = {}
        self.reliability: dict[int, Tensor] = {}

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.start()

    def on_test_batch_end(  # type: ignore[override]
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Mapping[str, Tensor] | None,
        *_: Any,
    ) -> None:
        if outputs is None:  # this process had no image
            return
        cases = outputs["case"].tolist()
        self.counts.update(zip(cases, outputs["counts"].cpu(), strict=True))
        packed = np.packbits(outputs["mask"][:, 0].cpu().numpy(), axis=2)
        self.masks.update(zip(cases, packed, strict=True))
        self.levels.update(zip(cases, levels(outputs["logits"])[:, 0].cpu().numpy(), strict=True))
        self.reliability[cases[0]] = outputs["reliability"].cpu()

    def on_test_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Each process has tested its own batches."""
        if trainer.world_size > 1:
            parts: list[Any] = [None] * trainer.world_size
            collected: tuple[dict[int, Any], ...] = (self.counts, self.masks, self.levels, self.reliability)
            torch.distributed.all_gather_object(parts, collected)
            for whole, *others in zip(collected, *parts, strict=True):
                for other in others:
                    whole.update(other)

    @rank_zero_only
    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        cases: Sequence[Case] = trainer.datamodule.store.cases  # type: ignore[attr-defined]
        numbers = sorted(self.counts)
        write_predictions(
            self.path.with_name(PREDICTIONS),
            [cases[n].case for n in numbers],
            [self.masks[n] for n in numbers],
            [self.levels[n] for n in numbers],
            pl_module.threshold,  # type: ignore[arg-type]
        )
        # Summed in one order, whichever process had which batch: not a digit depends on it.
        reliability = torch.stack([self.reliability[n] for n in sorted(self.reliability)]).sum(dim=0)
        write_calibration(self.path.with_name(CALIBRATION), reliability)
        write(self.path, [row(self.about, cases[number], self.counts[number].tolist()) for number in numbers])


def row(about: Mapping[str, Any], case: Case, counts: Sequence[int]) -> Row:
    """`about`: run, dataset, method and so on. `counts`: tp, fp, fn, tn."""
    return {
        **about,
        "case": case.case,
        "patient": case.patient,
        "side": case.side,
        "view": case.view,
        "density": case.density,
        **dict(zip(COUNTS, counts, strict=True)),
        **metrics([counts]),
    }


@dataclass(frozen=True)
class Predictions:
    """What a run predicted for its test images, in the order of `cases`.

    `masks` (N, H, W) bool: probability above `threshold`, exactly. `levels` (N, H, W) uint8: probabilities as
    `metrics.levels` gives them; None, as `threshold` is, in files of earlier versions, which kept masks only.
    """

    cases: list[str]
    masks: NDArray[np.bool_]
    levels: NDArray[np.uint8] | None
    threshold: float | None

    @property
    def by_case(self) -> dict[str, NDArray[np.bool_]]:
        """Predicted mask (H, W) by case."""
        return dict(zip(self.cases, self.masks, strict=True))


def write_predictions(
    path: Path,
    cases: Sequence[str],
    packed: Sequence[NDArray[np.uint8]],
    levels: Sequence[NDArray[np.uint8]],
    threshold: float,
) -> None:
    """cases (N,), masks (N, H, W / 8), eight pixels a byte, levels (N, H, W) and the threshold of the masks."""
    beside = path.with_suffix(".unfinished.npz")
    np.savez_compressed(
        beside, cases=np.array(cases), masks=np.stack(packed), levels=np.stack(levels), threshold=threshold
    )
    os.replace(beside, path)


def read_predictions(path: Path) -> Predictions:
    """Raises UserError for a damaged file."""
    try:
        with path.open("rb") as file, np.load(file) as stored:  # numpy would leave a damaged file open
            masks = np.unpackbits(stored["masks"], axis=2).astype(bool)
            kept = "levels" in stored
            return Predictions(
                stored["cases"].tolist(),
                masks,
                stored["levels"] if kept else None,
                float(stored["threshold"]) if kept else None,
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged ({error}); test the run again with mammoseg.evaluate") from error


def write_calibration(path: Path, reliability: Tensor) -> None:
    """One row per tenth of the probability: pixels, sum of their probabilities, mass pixels."""
    beside = path.with_suffix(".unfinished")
    with beside.open("w", newline="") as lines:
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(("pixels", "probability", "mass"))
        table.writerows([int(pixels), total, int(mass)] for pixels, total, mass in reliability.tolist())
    os.replace(beside, path)


def read_calibration(path: Path) -> Tensor:
    """(10, 3) as `metrics.reliability` gives."""
    return torch.from_numpy(np.loadtxt(path, delimiter=",", skiprows=1))


def write(path: Path, rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> None:
    beside = path.with_suffix(".unfinished")
    with beside.open("w", newline="") as lines:
        table = csv.DictWriter(lines, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    os.replace(beside, path)


def read(path: Path) -> list[Row]:
    """Rows with density and counts as int and metrics as float; the rest is text."""
    with path.open(newline="") as lines:
        return [
            {
                **row,
                **{name: int(row[name]) for name in ("density", *COUNTS)},
                **{name: float(row[name]) for name in FORMULAS},
            }
            for row in csv.DictReader(lines)
        ]


def metrics(counts: Sequence[Sequence[int]]) -> dict[str, float]:
    """The four metrics pooled over images: [[tp, fp, fn, tn], ...] -> {name: value}; NaN where undefined."""
    summed = torch.tensor(list(counts), dtype=torch.int64).reshape(-1, 4).sum(dim=0).double()
    return {name: metric.formula(*summed).item() for name, metric in FORMULAS.items()}


def pooled(rows: Sequence[Row]) -> dict[str, float]:
    return metrics([[row[name] for name in COUNTS] for row in rows])


def mean_over_images(rows: Sequence[Row]) -> dict[str, float]:
    """NaN if a row has no value, or if there is no row."""
    return {name: sum(row[name] for row in rows) / len(rows) if rows else float("nan") for name in FORMULAS}
