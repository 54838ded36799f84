"""Evaluate the masks that another program predicted for the images of a dataset."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from mammoseg.build import build_section
from mammoseg.cli import parse_path
from mammoseg.data.split_result import HALVES
from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError
from mammoseg.evaluate.mask_folder import check_files, mask_names, parts_of_rows, read_masks_of
from mammoseg.evaluate.previous_outputs import remove_previous_outputs
from mammoseg.evaluate.test_plan import ALL
from mammoseg.evaluate.tested_dataset import dataset_section
from mammoseg.evaluate.training_images import TrainingImages
from mammoseg.files import atomic_write_text
from mammoseg.metrics import confusion_counts
from mammoseg.metrics.detection import count_detections
from mammoseg.reports import run_summary
from mammoseg.runs import results
from mammoseg.runs.dataset_names import DatasetNames
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.predictions import Detections, write_detections, write_predictions
from mammoseg.runs.record import RunRecord, Status, write_record
from mammoseg.runs.seen_images import count_seen, seen_sentence
from mammoseg.runs.settings import public
from mammoseg.terminal import configure_library_logging

log = logging.getLogger(__name__)

NOTE = "The masks have no probabilities, so there are no calibration and no ROC curve."


def evaluate_masks(cfg: DictConfig, output_dir: Path) -> list[results.ResultRow]:
    """Evaluate masks, and write a folder that `compare` reads as a run of another method.

    The method is assumed to have been trained on the training part of the split.

    Args:
        cfg: Settings as in conf/evaluate.yaml, with a dataset and its split.
        output_dir: Output folder of results.csv and summary.md.

    Returns:
        Rows of results.csv.

    Raises:
        UserError: If the masks are not those of the images of the part, or a mask is invalid; see `mask_folder`.
    """
    configure_library_logging()
    folder, part = parse_path(cfg.masks, "masks"), cfg.part or "test"
    table = None if cfg.case_names is None else parse_path(cfg.case_names, "case_names")
    dataset = build_section(cfg, "dataset")
    store = dataset.open_store(require_outlines=True)
    split = build_section(cfg, "split")(store.cases, by_mass=dataset.with_negatives)
    part_of = parts_of_rows(split.parts(), HALVES)
    rows = np.array([row for row in range(len(store.cases)) if part in (ALL, part_of.get(row))], np.int64)
    if len(rows) == 0:
        raise UserError(f"part={part}: no image of {cfg.dataset.name} is in this part; set another part, or part=all")
    names = mask_names(rows, store, part_of, table)
    check_files(folder, names, store, part)
    masks = dict(zip(names, read_masks_of(folder, names, store), strict=True))
    seen: list[str] = [] if part == "test" else seen_by_training(store, part_of, cfg)
    columns = {row: {"part": part, **({"seen": seen[row]} if seen else {})} for row in masks}
    return write_run(cfg, store, masks, columns, RunFolder(output_dir))


def seen_by_training(store: PreparedStore, part_of: Mapping[int, str], cfg: DictConfig) -> list[str]:
    """Return for each image of the store whether the training has seen it, see `TrainingImages.seen`."""
    images, names = TrainingImages(), DatasetNames.of_config(dataset_section(cfg))
    for row, part in part_of.items():
        images.add_case(names, store.cases[row], part)
    return images.seen(names, store)


def write_run(
    cfg: DictConfig,
    store: PreparedStore,
    masks: Mapping[int, NDArray[np.bool_]],
    columns: Mapping[int, Mapping[str, Any]],
    output: RunFolder,
) -> list[results.ResultRow]:
    """Write the files of a run that do not need probabilities, and print the summary.

    Args:
        cfg: Settings as in conf/evaluate.yaml.
        store: The prepared images.
        masks: Predicted masks (H, W) by row of the store.
        columns: Further columns of results.csv by row of the store.
        output: Output folder.

    Returns:
        Rows of results.csv.
    """
    run_info = identity_of_masks(cfg)
    names = [store.cases[row].case for row in masks]
    detections = [
        # In a mask, each threshold in (0, 1) gives the same regions.
        Detections(name, *count_detections(mask.astype(np.float32), np.asarray(store.masks[row]) > 0, 0.5))
        for name, (row, mask) in zip(names, masks.items(), strict=True)
    ]
    rows = result_rows(run_info, store, masks, detections)
    rows = [{**row, **more} for row, more in zip(rows, columns.values(), strict=True)]
    remove_previous_outputs(output)
    output.write_data_paths(cfg.dataset)
    write_predictions(output.predictions, names, [np.packbits(mask, axis=1) for mask in masks.values()], None, None)
    write_detections(output.detection, detections)
    results.write_results(output.results, rows, [name for name in rows[0] if name not in results.columns()])
    write_record(output, record_of_masks(cfg, run_info, rows))
    write_summary(rows, output)
    return rows


def result_rows(
    run_info: Mapping[str, Any],
    store: PreparedStore,
    masks: Mapping[int, NDArray[np.bool_]],
    detections: Sequence[Detections],
) -> list[results.ResultRow]:
    """Create the rows of results.csv.

    Args:
        run_info: Values of `RUN_COLUMNS`.
        store: The prepared images.
        masks: Predicted masks (H, W) by row of the store.
        detections: Detections in each mask.
    """
    with_negatives = not store.has_mass[list(masks)].all()
    rows = []
    for (index, mask), detected in zip(masks.items(), detections, strict=True):
        case = store.cases[index]
        row = results.make_row(run_info, case, pixel_counts(mask, np.asarray(store.masks[index]) > 0))
        if with_negatives:
            row[results.FALSE_POSITIVES] = detected.false_positives
        if case.source:
            row[results.SOURCE_COLUMN] = case.source
        rows.append(row)
    return rows


def pixel_counts(mask_pred: NDArray[np.bool_], mask: NDArray[np.bool_]) -> list[int]:
    """Return the numbers of TP, FP, FN and TN pixels of masks (H, W)."""
    pred, true = (torch.from_numpy(array)[None, None] for array in (mask_pred, mask))
    counts: list[int] = confusion_counts(pred, true)[0].tolist()
    return counts


def identity_of_masks(cfg: DictConfig) -> dict[str, Any]:
    """Return the values of `RUN_COLUMNS`; the network and the loss of another program are unknown."""
    fold = OmegaConf.select(cfg, "split.fold", default="")
    parts = [str(cfg.dataset.name), str(cfg.name), *([] if fold == "" else [f"fold{fold}"]), f"seed{cfg.seed}"]
    method = {"method": str(cfg.name), "model": "", "loss": "", "fold": fold, "seed": cfg.seed}
    return {"run": "-".join(parts), "experiment": "", "dataset": str(cfg.dataset.name), **method}


def record_of_masks(cfg: DictConfig, run_info: Mapping[str, Any], rows: Sequence[results.ResultRow]) -> RunRecord:
    """Return the record of the folder, with the settings that are known: those of the dataset and the split."""
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    return RunRecord(
        run_info=dict(run_info),
        settings=public({name: config[name] for name in ("dataset", "split")}),
        status=Status.EVALUATED,
        evaluation={"tested_on": run_info["dataset"], "part": rows[0]["part"], "masks_only": True},
    )


def write_summary(rows: Sequence[results.ResultRow], output: RunFolder) -> None:
    """Write summary.md, and print the table and the notes."""
    sentence = seen_sentence(count_seen([str(row.get("seen", "")) for row in rows]), len(rows))
    notes = [NOTE, *([sentence] if sentence else [])]
    atomic_write_text(output.summary, run_summary.summary_markdown(rows) + run_summary.notes_markdown(notes))
    run_summary.print_summary(rows, output.path)
    for note in notes:
        log.info(note)
