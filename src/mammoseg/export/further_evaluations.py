"""Further evaluations of an exported checkpoint, for the model card: other images, options or resolutions."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mammoseg.errors import UserError
from mammoseg.export.card_evaluation import CONFIDENCE_LEVEL, compare_single, without_half
from mammoseg.export.card_metadata import displayed
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.reports.table import MISSING, markdown_escape, percent
from mammoseg.runs.checked_results import read_rows
from mammoseg.runs.discovery import RunResults, read_run
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import RunRecord, Status, read_record
from mammoseg.runs.results import NATIVE_FILE, has_mass
from mammoseg.runs.seen_images import seen_sentence
from mammoseg.statistics.comparison import Estimate
from mammoseg.statistics.negative_outcomes import false_positives_per_negative, specificity

DSC = PIXEL_METRICS["dsc"]
PARTS = ("train", "val", "test", "all")


@dataclass(frozen=True)
class ExportedCheckpoint:
    """Identity of the checkpoint that is exported.

    Attributes:
        path: Path of the checkpoint.
        run_info: Identity of its run.
        digests: SHA-256 hashes of its file and of its exported weights.
        selected_on: Half of the held-out fold that selected it, or None.
    """

    path: Path
    run_info: Mapping[str, Any]
    digests: Collection[str]
    selected_on: str | None = None


@dataclass(frozen=True)
class FurtherEvaluation:
    """Results of an evaluation at one resolution.

    Attributes:
        run: The results.
        part: Part of the dataset: train, val, test or all.
        threshold: Probability above which a pixel is mass.
        tta: Whether test-time augmentation was used.
        native: Whether the results are those at the native resolution of the images.
    """

    run: RunResults
    part: str
    threshold: float
    tta: bool
    native: bool

    @property
    def n_without_mass(self) -> int:
        """Number of images without a mass."""
        return sum(not has_mass(row) for row in self.run.rows)

    @cached_property
    def dsc(self) -> Estimate | None:
        """Pooled DSC with its interval; None if no image has a mass."""
        if self.n_without_mass == len(self.run.rows):
            return None
        (estimates,) = compare_single(self.run).overall.values()
        return estimates["dsc"]

    @property
    def options(self) -> str:
        """Threshold, test-time augmentation and resolution in words."""
        tta = ["test-time augmentation"] if self.tta else []
        native = ["native resolution"] if self.native else []
        return ", ".join([f"threshold {self.threshold:g}", *tta, *native])

    def cells(self) -> list[str]:
        """Return the cells of a row of the table in the model card."""
        rows, dsc = self.run.rows, self.dsc
        limits = MISSING if dsc is None else f"{DSC.format(dsc.value)} [{DSC.format(dsc.low)}, {DSC.format(dsc.high)}]"
        false_positives = false_positives_per_negative(rows)
        counts = [str(len(rows)), str(self.n_without_mass)]
        mean = MISSING if math.isnan(false_positives) else f"{false_positives:.2f}"
        return [self.run.dataset, self.part, self.options, *counts, limits, percent(specificity(rows)), mean]

    def metadata(self) -> dict[str, Any]:
        """Return the values for the metadata of the model card, in the units of the table; undefined ones are None."""
        rows, dsc = self.run.rows, self.dsc
        estimates = [math.nan] * 3 if dsc is None else [dsc.value, dsc.low, dsc.high]
        values = dict(
            zip(("dsc", "dsc_low", "dsc_high"), (displayed("dsc", value) for value in estimates), strict=True)
        )
        negatives = {
            "specificity": round(100 * specificity(rows), 2),
            "false_positives_per_negative": round(false_positives_per_negative(rows), 2),
        }
        numbers = {**values, **negatives}
        return {
            "dataset": self.run.dataset,
            "part": self.part,
            "threshold": self.threshold,
            "tta": self.tta,
            "resolution": "native" if self.native else "network input",
            "n": len(rows),
            "n_without_mass": self.n_without_mass,
            **{name: None if math.isnan(value) else value for name, value in numbers.items()},
        }


def read_further_evaluations(folders: Sequence[Path], exported: ExportedCheckpoint) -> list[FurtherEvaluation]:
    """Read evaluations of a checkpoint.

    Args:
        folders: Output folders of `mammoseg.evaluate`.
        exported: The checkpoint.

    Returns:
        The evaluations; with native=true, those at native resolution follow the others.

    Raises:
        UserError: If a folder is not an output folder with pixel metrics, or another checkpoint was evaluated.
    """
    return [evaluation for path in folders for evaluation in _read_folder(RunFolder(path), exported)]


def _read_folder(folder: RunFolder, exported: ExportedCheckpoint) -> list[FurtherEvaluation]:
    record = read_record(folder)
    if record is None or record.status is not Status.EVALUATED or not folder.results.is_file():
        raise UserError(
            f"evaluations: {folder.path} must be an output folder of mammoseg.evaluate with {folder.results.name}; "
            "remove it from the list, or evaluate the checkpoint again"
        )
    if not _is_of(record, exported):
        raise UserError(
            f"evaluations: {folder.path} must contain the results of {exported.path} alone, got those of another "
            "checkpoint, an ensemble or masks; evaluate the exported checkpoint"
        )
    run, options = read_run(folder, record), record.evaluation or {}
    part, threshold = options.get("part", "test"), options.get("threshold", record.settings.get("threshold"))
    if part not in PARTS or type(threshold) is not float:
        raise UserError(f"evaluations: {folder.record} is damaged; evaluate the checkpoint again")
    trained = RunFolder.of_checkpoint(exported.path.resolve())
    if record.evaluation is None and exported.selected_on and trained.split.is_file():
        run = without_half(run, exported.selected_on, trained)
    tta = options.get("tta") is True
    evaluations = [FurtherEvaluation(run, part, threshold, tta, native=False)]
    if (native := folder.path / NATIVE_FILE).is_file():
        tested = {row["case"] for row in run.rows}
        rows = [row for row in read_rows(native) if row["case"] in tested]
        evaluations.append(FurtherEvaluation(replace(run, rows=rows), part, threshold, tta, native=True))
    return evaluations


def _is_of(record: RunRecord, exported: ExportedCheckpoint) -> bool:
    """Return whether an evaluation is that of the exported checkpoint.

    A record that repeats the test of a run contains no hash, so the identity of the run is compared.
    """
    evaluation = record.evaluation or {}
    if "checkpoints" in evaluation:
        return evaluation["checkpoints"] in [[digest] for digest in exported.digests]
    names = ("run", "fold", "seed")
    same_run = all(record.run_info.get(name) == exported.run_info.get(name) for name in names)
    return same_run and not evaluation.get("masks_only")


def further_evaluations_section(evaluations: Sequence[FurtherEvaluation]) -> str:
    """Tabulate further evaluations.

    Args:
        evaluations: At least one evaluation.

    Returns:
        Markdown.
    """
    headings = (
        *("dataset", "part", "options", "images", "without a mass", f"{DSC.heading}, in %"),
        *("specificity, in %", "false positives per image without a mass"),
    )
    lines = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    lines += [f"| {' | '.join(map(markdown_escape, evaluation.cells()))} |" for evaluation in evaluations]
    notes = [
        f"{evaluation.run.dataset} ({evaluation.part}): {sentence}"
        for evaluation in evaluations
        if not evaluation.native and (sentence := seen_sentence(evaluation.run.seen_counts, len(evaluation.run.rows)))
    ]
    text = (
        "Results of this network on other images, with other options or at another resolution. DSC is pooled over the "
        "pixels of all images, and undefined if no image has a mass; in brackets, "
        f"{CONFIDENCE_LEVEL:.0%} bootstrap intervals over patients. Specificity is the fraction of the images without "
        "a mass in which no pixel is predicted."
    )
    return "\n\n".join([text, "\n".join(lines), *notes])
