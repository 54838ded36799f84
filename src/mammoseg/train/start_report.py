"""Messages at the start of a training: device, network, images, epochs, and remarks on them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import lightning
import torch

from mammoseg.data.split_result import Split
from mammoseg.data.store import Case
from mammoseg.launch import distributed
from mammoseg.program import shortest_path
from mammoseg.reports.table import format_count
from mammoseg.runs.discovery import unfinished_duplicates
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import RunRecord
from mammoseg.segmenter import Segmenter
from mammoseg.train.next_commands import resume_command

log = logging.getLogger(__name__)

MIN_IMAGES = 10  # of a validation or test part; with fewer, one image changes the mean DSC by more than 10 points
MIN_PATIENTS = 5


def log_start(
    run: str,
    folder: RunFolder,
    trainer: lightning.Trainer,
    segmenter: Segmenter,
    split: Split,
    cases: Sequence[Case],
) -> None:
    """Log what is trained, on which images and device, and where the results are written.

    Warns of parts for validation or test that are too small for meaningful metrics. Only rank 0 logs.

    Args:
        run: Name of the run.
        folder: Run folder.
        trainer: Trainer of the run.
        segmenter: The network with its loss.
        split: Images in each part.
        cases: All cases of the store.
    """
    if distributed.rank() > 0:
        return
    network, loss = type(segmenter.net).__name__, type(segmenter.criterion).__name__
    n_parameters = sum(value.numel() for value in segmenter.net.parameters())
    sizes = part_sizes(split, cases)
    images = [
        f"{n_images} {part} ({format_count(n_patients, 'patient')})" for part, (n_images, n_patients) in sizes.items()
    ]
    log.info("run: %s, in %s", run, shortest_path(folder.path))
    log.info("device: %s, precision %s", describe_device(trainer), trainer.precision)
    log.info("network: %s, %s parameters; loss: %s", network, f"{n_parameters:,}", loss)
    log.info("images: %s", ", ".join(images))
    log.info("epochs: %s", "unlimited" if trainer.max_epochs in (None, -1) else trainer.max_epochs)
    for message in small_parts(sizes):
        log.warning("%s", message)


def describe_device(trainer: lightning.Trainer) -> str:
    """Return the name and the number of the devices."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = (
            f"CPU ({format_count(torch.get_num_threads(), 'thread')})" if device.type == "cpu" else device.type.upper()
        )
    return name if trainer.world_size == 1 else f"{trainer.world_size} × {name}"


def part_sizes(split: Split, cases: Sequence[Case]) -> dict[str, tuple[int, int]]:
    """Return the numbers of images and patients in each part."""
    return {part: (len(rows), len({cases[row].patient for row in rows})) for part, rows in split.parts().items()}


def small_parts(sizes: dict[str, tuple[int, int]]) -> list[str]:
    """Return a warning for each part, except that for training, with too few images or patients.

    Args:
        sizes: Numbers of images and patients in each part.

    Example:
        >>> small_parts({"train": (4, 2), "val": (12, 6), "test": (9, 6)})  # doctest: +ELLIPSIS
        ['the test part has only 9 images of 6 patients; metrics are not meaningful with fewer than 10 images...']
    """
    return [
        f"the {part} part has only {format_count(n_images, 'image')} of {format_count(n_patients, 'patient')}; metrics "
        f"are not meaningful with fewer than {MIN_IMAGES} images or {MIN_PATIENTS} patients"
        for part, (n_images, n_patients) in sizes.items()
        if part != "train" and (n_images < MIN_IMAGES or n_patients < MIN_PATIENTS)
    ]


def report_unfinished(folder: RunFolder, record: RunRecord) -> None:
    """Log how to resume an unfinished run with the same settings, which has a different folder by default."""
    if distributed.rank() == 0 and not distributed.is_worker():
        for run in unfinished_duplicates(folder, record)[:1]:
            log.warning("an unfinished run has the same settings; to resume it: %s", resume_command(run))
