"""Evaluation of detection only, for test sets with masses that are marked by boxes or circles.

No pixel metric is computed, and neither results.csv nor native.csv is written. All images of such a test set, also
those with outlines or without a mass, are evaluated in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from mammoseg.batch import Batch
from mammoseg.data.dataset import DatasetSpec
from mammoseg.data.readers.mass_location import location_masks
from mammoseg.data.store import PreparedStore
from mammoseg.evaluate.full_resolution import FullResolutionCallback
from mammoseg.evaluate.native_report import write_detection_section
from mammoseg.evaluate.native_resolution import full_resolution_mask, read_candidates, write_candidates
from mammoseg.evaluate.test_plan import TestPlan
from mammoseg.metrics.detection import Candidate, MatchingRule, detect, detect_marked
from mammoseg.runs.predictions import DETECTION_COLUMNS, DETECTION_FILE
from mammoseg.runs.results import IMAGE_COLUMNS, write_table
from mammoseg.segmenter import Segmenter


def tests_detection_only(plan: TestPlan, store: PreparedStore) -> bool:
    """Return whether the datasets of the tested images mark masses by boxes or circles only.

    An image without a mark of such a dataset has no outlines either, so a test of such images only is included. In a
    union of datasets, only the datasets of the tested images matter.
    """
    marking = {case.source for case in store.cases if case.detection_only}
    return any(store.cases[row].source in marking for row in plan.seen)


class PredictionModule(lightning.LightningModule):
    """Predicts the images of a test without the metrics of a segmenter.

    Args:
        segmenter: Contains the network and the threshold.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    @property
    def net(self) -> nn.Module:
        """The network."""
        net: nn.Module = self.segmenter.net
        return net

    @property
    def threshold(self) -> float:
        """Probability above which a pixel is mass."""
        return self.segmenter.threshold

    @override
    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Return case (B,), the indices of the images in the store, and logits (B, 1, H, W)."""
        return {"case": batch["case"], "logits": self.segmenter.checked_logits(batch["image"])}


class DetectionWriter(FullResolutionCallback):
    """Matches the candidates of each predicted image with its masses, and writes detection.csv and candidates.csv.

    Args:
        folder: Output folder.
        dataset: See `FullResolutionCallback`.
        rule: Definition of candidates and of their match with a mass.
        more_columns: Values of further columns of detection.csv for each image, by row of the store.

    Attributes:
        rows: Rows of detection.csv by row of the store; found and false_positives are numbers of masses with and of
            candidates without a match.
    """

    def __init__(
        self, folder: Path, dataset: DatasetSpec, rule: MatchingRule, more_columns: Mapping[int, Mapping[str, Any]]
    ) -> None:
        super().__init__(dataset, "evaluating detection")
        self.folder = folder
        self.rule = rule
        self.more_columns = more_columns
        self.rows: dict[int, dict[str, Any]] = {}
        self.candidates: dict[int, list[Candidate]] = {}

    def evaluate_image(self, index: int, prob_map: NDArray[np.float32], threshold: float) -> None:
        """Evaluate one image; see `FullResolutionCallback`."""
        case, mammogram = self.store.cases[index], self.mammogram(index)
        prob, shape = self.original_probabilities(index, prob_map), (case.height, case.width)
        if mammogram.locations:
            masks = location_masks(mammogram.locations, *shape)
            candidates, n_masses = detect_marked(prob, masks, self.rule, threshold), len(masks)
        else:
            mask = full_resolution_mask(case.case, mammogram, shape)
            candidates, n_masses = detect(prob, mask, self.rule, threshold)
        self.candidates[index] = candidates
        self.rows[index] = {
            **{name: getattr(case, name) for name in IMAGE_COLUMNS},
            "masses": n_masses,
            "found": len({label for candidate in candidates for label in candidate.hits}),
            "false_positives": sum(not candidate.hits for candidate in candidates),
            **self.more_columns.get(index, {}),
        }

    def on_test_end(self, *_: Any, **__: Any) -> None:
        """Stop the progress display and write both files, in the order of the store."""
        self.stop()
        rows = [self.rows[index] for index in sorted(self.rows)]
        write_candidates(self.folder, {self.rows[index]["case"]: self.candidates[index] for index in sorted(self.rows)})
        more = [name for name in rows[0] if name not in (*IMAGE_COLUMNS, *DETECTION_COLUMNS)]
        write_table(self.folder / DETECTION_FILE, rows, (*IMAGE_COLUMNS, *DETECTION_COLUMNS[1:], *more))


def detection_summary(writer: DetectionWriter, title: str) -> str:
    """Write froc.png, and create the content of summary.md.

    Args:
        writer: Has evaluated all images.
        title: Heading.

    Returns:
        Markdown.
    """
    rows = [writer.rows[index] for index in sorted(writer.rows)]
    n_masses, found, false_positives = (sum(row[name] for row in rows) for name in DETECTION_COLUMNS[1:])
    # Scores are read from the file, so that the report can be repeated from the files.
    candidates = read_candidates(writer.folder, [row["case"] for row in rows])
    sentences = (
        "Masses are marked by boxes or circles, so there are no pixel metrics such as DSC. "
        f"{found} of {n_masses} masses found, {false_positives / len(rows):.2f} false positives per image, "
        f"{len(rows)} images."
    )
    section = write_detection_section(rows, candidates, writer.folder, writer.rule)
    return f"# {title}\n\n{sentences}\n\n{section}"
