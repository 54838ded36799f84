"""Test results at the images' own resolution: predictions put back onto the original pixels, and compared there.

Lies beside results.csv, whose numbers are those of the network's square.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mammoseg.data.dataset import DatasetSpec
from mammoseg.data.images.metadata import spacing_columns
from mammoseg.data.images.read import read_metadata
from mammoseg.data.preprocessing.cache import ground_truth_mask
from mammoseg.data.preprocessing.inverse import InversePreprocessing
from mammoseg.data.readers.mammogram import Mammogram
from mammoseg.data.store import PreparedStore
from mammoseg.errors import ImageReadError, UserError
from mammoseg.metrics.detection import Candidate, MatchingRule, detect
from mammoseg.metrics.surface import surface_distances
from mammoseg.runs import results
from mammoseg.runs.results import ResultRow
from mammoseg.terminal import Progress

NATIVE, CANDIDATES = "native.csv", "candidates.csv"
DISTANCES = ("hd95", "asd")
GEOMETRY = ("height", "width", "spacing_down_mm", "spacing_across_mm", "spacing_from", "unit")
MORE_COLUMNS = (*GEOMETRY, *DISTANCES, "masses")  # than results.csv has
OF_CANDIDATE = ("case", "score", "mean", "x", "y", "area", "hits")


class NativeWriter(lightning.Callback):
    """Measures each tested image as soon as the network has seen it, and writes native.csv and candidates.csv.

    `dataset`: the one that the store was prepared from; its outlines and mask files are read again.
    Raises UserError where these are not there any more.
    """

    def __init__(self, folder: Path, run_info: Mapping[str, Any], dataset: DatasetSpec, rule: MatchingRule) -> None:
        self.folder = folder
        self.run_info = dict(run_info)
        self.rule = rule
        self.mammograms = dataset.mammograms()
        self.rows: dict[int, ResultRow] = {}
        self.candidates: dict[int, list[Candidate]] = {}

    def on_test_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        self.store: PreparedStore = datamodule.store
        self.progress = Progress("measuring at native resolution", len(datamodule.split.test))
        self.progress.__enter__()

    def on_test_batch_end(  # type: ignore[override]
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Mapping[str, Tensor],
        *_: Any,
    ) -> None:
        probabilities = torch.sigmoid(outputs["logits"].float())[:, 0].cpu().numpy()
        for number, prob in zip(outputs["case"].tolist(), probabilities, strict=True):
            self.measure(number, prob, pl_module.threshold)  # type: ignore[arg-type]
            self.progress.advance()

    def measure(self, number: int, square: NDArray[np.float32], threshold: float) -> None:
        """`square` (size, size): the probabilities for row `number` of the store."""
        case = self.store.cases[number]
        mammogram = self.mammograms.get(case.case)
        if mammogram is None:
            raise UserError(
                f"{case.case}: prepared, but not in the dataset any more; set dataset.root to its folder as it was"
            )
        mask = original_mask(case.case, mammogram, (case.height, case.width))
        prob = InversePreprocessing.from_case(case, self.store.about["aspect"]).to_original(square)
        mask_pred = prob > np.float32(threshold)
        try:
            spacing = read_metadata(mammogram.image_file).spacing
        except ImageReadError as error:
            raise UserError(f"{case.case}: its image cannot be read again: {error}") from error
        steps = (spacing.down, spacing.across) if spacing else (1.0, 1.0)
        self.candidates[number], masses = detect(prob, mask, self.rule, threshold)
        self.rows[number] = {
            **results.make_row(self.run_info, case, counts_of(mask_pred, mask)),
            "height": case.height,
            "width": case.width,
            **spacing_columns(spacing),
            "unit": "mm" if spacing else "pixels",
            **dict(zip(DISTANCES, surface_distances(mask_pred, mask, steps), strict=True)),
            "masses": masses,
        }

    def on_exception(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, error: Any) -> None:
        self.progress.__exit__(None, None, None)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.progress.__exit__(None, None, None)
        numbers = sorted(self.rows)
        candidates = {self.rows[number]["case"]: self.candidates[number] for number in numbers}
        results.write_table(self.folder / CANDIDATES, candidate_rows(candidates), OF_CANDIDATE)
        results.write_results(self.folder / NATIVE, [self.rows[number] for number in numbers], MORE_COLUMNS)


def original_mask(case: str, mammogram: Mammogram, shape: tuple[int, int]) -> NDArray[np.bool_]:
    try:
        return ground_truth_mask(mammogram, shape)[0] > 0
    except (ImageReadError, ValueError) as error:
        raise UserError(f"{case}: its masses cannot be read again: {error}") from error


def counts_of(mask_pred: NDArray[np.bool_], mask: NDArray[np.bool_]) -> list[int]:
    """tp, fp, fn, tn"""
    tp = int(np.count_nonzero(mask_pred & mask))
    fp, fn = int(np.count_nonzero(mask_pred)) - tp, int(np.count_nonzero(mask)) - tp
    return [tp, fp, fn, mask.size - tp - fp - fn]


def candidate_rows(candidates: Mapping[str, Sequence[Candidate]]) -> Iterator[dict[str, Any]]:
    """By case -> rows of candidates.csv."""
    for case, found in candidates.items():
        for one in found:
            yield {"case": case, **asdict(one), "hits": " ".join(map(str, one.hits))}


def read(folder: Path) -> tuple[list[ResultRow], dict[str, list[Candidate]]]:
    """Read native.csv and candidates.csv.

    Returns:
        Rows as `read_results` returns them, with distances and the number of masses as numbers; candidates by case.
    """
    rows = [
        {**row, **{name: float(row[name]) for name in DISTANCES}, "masses": int(row["masses"])}
        for row in results.read_results(folder / NATIVE)
    ]
    candidates: dict[str, list[Candidate]] = {row["case"]: [] for row in rows}
    with (folder / CANDIDATES).open(newline="") as lines:
        for one in csv.DictReader(lines):
            numbers = {name: float(one[name]) for name in ("score", "mean", "x", "y")}
            hits = tuple(map(int, one["hits"].split()))
            candidates[one["case"]].append(Candidate(**numbers, area=int(one["area"]), hits=hits))
    return rows, candidates
