"""results.csv: one row per tested image. Everything in a report can be recomputed from it."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from mammoseg.data.store import Case
from mammoseg.metrics import FORMULAS

COUNTS = ("tp", "fp", "fn", "tn")
COLUMNS = (
    *("run", "dataset", "model", "loss", "fold", "seed"),
    *("case", "patient", "side", "view", "density"),
    *COUNTS,
    *FORMULAS,
)
Row = dict[str, Any]


class ResultsWriter(lightning.Callback):
    """Collects what `test_step` returns and writes results.csv when the test ends, whole or not at all.

    `about`: run, dataset, model, loss, fold and seed, the same for each row. Rows stand in the store's order.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self.about = dict(about)
        self.counts: dict[int, Tensor] = {}

    def on_test_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.counts = {}

    def on_test_batch_end(  # type: ignore[override]
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Mapping[str, Tensor],
        *_: Any,
    ) -> None:
        for case, counts in zip(outputs["case"].tolist(), outputs["counts"].cpu(), strict=True):
            self.counts[case] = counts

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        cases: Sequence[Case] = trainer.datamodule.store.cases  # type: ignore[attr-defined]
        rows = [self.row(cases[number], self.counts[number]) for number in sorted(self.counts)]
        write(self.path, rows)

    def row(self, case: Case, counts: Tensor) -> Row:
        return {
            **self.about,
            "case": case.case,
            "patient": case.patient,
            "side": case.side,
            "view": case.view,
            "density": case.density,
            **dict(zip(COUNTS, counts.tolist(), strict=True)),
            **metrics([counts.tolist()]),
        }


def write(path: Path, rows: Sequence[Row]) -> None:
    beside = path.with_suffix(".unfinished")
    with beside.open("w", newline="") as lines:
        table = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
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
