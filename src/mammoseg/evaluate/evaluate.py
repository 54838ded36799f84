"""From a checkpoint back to the objects of its run, and their test results."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf

from mammoseg.build import build_datamodule, build_segmenter
from mammoseg.callbacks.results_writer import ResultsWriter
from mammoseg.errors import UserError
from mammoseg.evaluate import native_report, native_resolution
from mammoseg.files import atomic_write_text
from mammoseg.metrics.detection import MatchingRule
from mammoseg.reports import run_summary
from mammoseg.runs import checkpoint, results
from mammoseg.runs.folder import DataPaths, RunFolder
from mammoseg.runs.record import RunRecord, Status, write_record
from mammoseg.segmenter import Segmenter
from mammoseg.terminal import configure_library_logging

log = logging.getLogger(__name__)


def evaluate(
    path: Path,
    root: str | None,
    store: str | None,
    folder: Path,
    rule: MatchingRule | None = None,
    trusted_modules: Sequence[str] = (),
) -> list[results.ResultRow]:
    """Test a checkpoint on its own test part, and report whether the results equal those of its run.

    Args:
        path: The checkpoint.
        root: The dataset's folder; None takes the one of the training run.
        store: Folder of the prepared images; None takes the one of the training run.
        folder: Output folder, into which results.csv and summary.md are written.
        rule: What counts as a detection, to evaluate at native resolution as well: native.csv, candidates.csv and
            froc.png. None skips that.
        trusted_modules: As for `load_checkpoint`.

    Returns:
        The rows of results.csv.

    Raises:
        UserError: If the checkpoint cannot be used, or the dataset's folder is not known.
    """
    configure_library_logging()
    loaded = checkpoint.load_checkpoint(path, trusted_modules)
    run = RunFolder.of_checkpoint(path.resolve())
    cfg = OmegaConf.create(checkpoint.config_of(loaded))
    assert isinstance(cfg, DictConfig)
    resolve_data_paths(run, root, store, cfg.dataset.name).apply(cfg.dataset)
    without_training_settings(cfg)
    output = RunFolder(folder)
    output.write_data_paths(cfg.dataset)
    run_test(cfg, loaded, path, output, rule)
    write_record(output, evaluation_record(loaded))
    rows = results.read_results(output.results)
    write_reports(rows, output, rule)
    compare_with_training_run(rows, run.results)
    return rows


def evaluation_record(loaded: dict[str, Any]) -> RunRecord:
    """The record of a folder with the results of a loaded checkpoint."""
    run_info, settings = checkpoint.run_info_of(loaded), checkpoint.config_of(loaded)
    return RunRecord(run_info=run_info, settings=settings, status=Status.EVALUATED)


def run_test(cfg: DictConfig, loaded: dict[str, Any], path: Path, output: RunFolder, rule: MatchingRule | None) -> None:
    """Test the weights of a loaded checkpoint; writes results.csv, and native.csv and candidates.csv with `rule`."""
    datamodule = build_datamodule(cfg)
    segmenter = build_segmenter(cfg, training=False)
    load_weights(segmenter, loaded["state_dict"], path)
    run_info = checkpoint.run_info_of(loaded)
    writers: list[Callback] = [ResultsWriter(output.results, run_info)]
    if rule is not None:
        datamodule.setup()  # fails here if the dataset's folder is wrong
        writers.append(native_resolution.NativeWriter(output.path, run_info, datamodule.dataset, rule))
    trainer: lightning.Trainer = instantiate(
        cfg.trainer, callbacks=writers, logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    trainer.test(segmenter, datamodule=datamodule, verbose=False)


def write_reports(rows: Sequence[results.ResultRow], output: RunFolder, rule: MatchingRule | None) -> None:
    """Write summary.md, with the sections at native resolution if `rule` is given, and print the tables."""
    summary = run_summary.markdown(rows)
    native = "" if rule is None else native_report.write_report(output.path, rule)
    atomic_write_text(output.summary, summary + native)
    run_summary.print_table(rows, output.path)
    if rule is not None:
        native_rows, _ = native_resolution.read(output.path)
        run_summary.print_table(native_rows, output.path, "at native resolution")
        print(native[native.index("\nDistances") :])


def load_weights(segmenter: Segmenter, weights: dict[str, Any], path: Path) -> None:
    """Raises UserError for those of another network; an exported checkpoint has none of the loss."""
    try:
        missing, unexpected = segmenter.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        missing, unexpected = [str(error)], []
    if unexpected or not all(name.startswith("criterion.") for name in missing):
        raise UserError(
            f"{path}: its weights are not those of the network that its config describes; give the checkpoint as "
            "training wrote it"
        )


def resolve_data_paths(run: RunFolder, root: str | None, store: str | None, dataset: str) -> DataPaths:
    """Where the data of a checkpoint are: as given, else where they were in training.

    Raises:
        UserError: If the dataset's folder is not known.
    """
    known = run.data_paths()
    given = {"root": root, "store": store}
    found = replace(known, **{name: Path(path).expanduser().absolute() for name, path in given.items() if path})
    if found.root is None:
        raise UserError(
            f"dataset.root is not known: a checkpoint does not store it, and {run.path} is not the folder of its run; "
            f"set dataset.root to the folder of the dataset ({dataset})"
        )
    return found


def without_training_settings(cfg: DictConfig) -> None:
    """Turn off what only training needs: augmentation, compilation, several devices."""
    cfg.augment = None
    OmegaConf.update(cfg, "compile", None, force_add=True)  # testing once does not pay for it
    cfg.trainer.devices, cfg.trainer.strategy = 1, "auto"  # the results do not depend on their number


def compare_with_training_run(rows: list[results.ResultRow], training_results: Path) -> None:
    """Report whether `rows` are those of the training run, if its results.csv is there."""
    if not training_results.is_file():
        return
    before = {row["case"]: [row[name] for name in results.COUNTS] for row in results.read_results(training_results)}
    now = {row["case"]: [row[name] for name in results.COUNTS] for row in rows}
    if before == now:
        print("identical to the results of the training run, to the last pixel")
        return
    changed = sum(before.get(case) != now.get(case) for case in before.keys() | now.keys())
    log.warning(
        "%d of %d images differ from the training run's results.csv: another processor or library version "
        "rounds differently, last.ckpt is not best.ckpt, or the data changed",
        changed,
        len(before.keys() | now.keys()),
    )
