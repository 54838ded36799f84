"""Evaluate a checkpoint on the test set of its run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf

from mammoseg.build import build_datamodule, build_segmenter
from mammoseg.callbacks.results_writer import ResultsWriter
from mammoseg.callbacks.tested_checkpoints import TestedCheckpoints
from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.errors import UserError
from mammoseg.evaluate.native_report import write_native_report
from mammoseg.evaluate.native_resolution import NativeResolutionWriter, read_native_results
from mammoseg.files import atomic_write_text
from mammoseg.metrics.detection import MatchingRule
from mammoseg.reports import run_summary
from mammoseg.runs import checkpoint, results
from mammoseg.runs.folder import DataPaths, RunFolder
from mammoseg.runs.record import RunRecord, Status, write_record
from mammoseg.runs.settings import flatten
from mammoseg.schema.check import check_section
from mammoseg.terminal import configure_library_logging

log = logging.getLogger(__name__)

INSTANTIATED_SECTIONS = ("dataset", "split", "model", "loss")
USED_SETTINGS = ("batch_size", "num_workers", "seed", "threshold", "channels_last")
TRAINER_SETTINGS = ("accelerator", "precision")  # used here; the others, such as max_steps, are only for training


def evaluate(
    ckpt_paths: Sequence[Path],
    data_root: str | None,
    store_root: str | None,
    output_dir: Path,
    rule: MatchingRule | None = None,
    trusted_modules: Sequence[str] = (),
) -> list[results.ResultRow]:
    """Evaluate the checkpoint of a run on its test set, and report whether the results equal those of the run.

    Args:
        ckpt_paths: The checkpoint, or the best checkpoints of a run with split.test=both.
        data_root: Folder of the dataset; None uses that of the training run.
        store_root: Folder of the prepared images; None uses that of the training run.
        output_dir: Output folder of results.csv and summary.md.
        rule: Definition of a detection. If set, the images are evaluated at native resolution as well, and native.csv,
            candidates.csv and froc.png are written.
        trusted_modules: See `load_checkpoint`.

    Returns:
        Rows of results.csv.

    Raises:
        UserError: If the checkpoint cannot be loaded or the folder of the dataset is unknown.
    """
    configure_library_logging()
    loaded = load_checked(ckpt_paths[0], trusted_modules)
    training_run = RunFolder.of_checkpoint(ckpt_paths[0].resolve())
    cfg: Any = OmegaConf.create(checkpoint.config_of(loaded))
    resolve_data_paths(training_run, data_root, store_root, cfg.dataset.name).apply(cfg.dataset)
    disable_training_settings(cfg)
    output = RunFolder(output_dir)
    output.write_data_paths(cfg.dataset)
    one_half = run_test(cfg, loaded, ckpt_paths, output, rule)
    write_record(output, evaluation_record(loaded))
    rows = results.read_results(output.results)
    write_evaluation_report(rows, output, rule)
    compare_with_training_run(rows, training_run.results, one_half)
    return rows


def load_checked(ckpt_path: Path, trusted_modules: Sequence[str]) -> dict[str, Any]:
    """Load a checkpoint, and check everything in it that the test uses; see `load_checkpoint`."""
    loaded = checkpoint.load_checkpoint(ckpt_path, INSTANTIATED_SECTIONS, trusted_modules)
    checkpoint.check_run_info(checkpoint.run_info_of(loaded), ckpt_path)
    check_settings(checkpoint.config_of(loaded), ckpt_path)
    return loaded


def check_settings(config: Mapping[str, Any], ckpt_path: Path) -> None:
    """Check the settings of a checkpoint that the test uses; those of its classes have been checked.

    Args:
        config: Config of the checkpoint.
        ckpt_path: The checkpoint, for error messages.

    Raises:
        UserError: If a setting is missing or invalid.
    """
    flat = dict(flatten(config))
    required = (*USED_SETTINGS, "dataset.name", "dataset.size")
    if missing := [name for name in required if name not in flat]:
        raise UserError(f"{ckpt_path}: its config has no {missing[0]}; train one with mammoseg.train")
    if not isinstance(config["dataset"].get("reader"), dict):
        raise UserError(f"{ckpt_path}: its config has no dataset.reader; train one with mammoseg.train")
    for name in USED_SETTINGS:
        check_section(name, config[name])
    check_trainer(config.get("trainer"), ckpt_path)


def check_trainer(trainer: Any, source: Path) -> None:
    """Check the settings of the trainer of a checkpoint that `evaluate` uses.

    Args:
        trainer: The section of the config.
        source: Path of the checkpoint, for error messages.

    Raises:
        UserError: If one of them is missing or invalid.
    """
    if not isinstance(trainer, dict) or not {*TRAINER_SETTINGS} <= trainer.keys():
        raise UserError(f"{source}: its config has no trainer; train one with mammoseg.train")
    used = {name: trainer[name] for name in TRAINER_SETTINGS}
    try:
        check_section("trainer", {"_target_": "lightning.Trainer", **used})
    except UserError as error:
        raise UserError(f"{source}: {error}") from error


def evaluation_record(loaded: dict[str, Any]) -> RunRecord:
    """Return the record of a folder with the results of a loaded checkpoint."""
    run_info, settings = checkpoint.run_info_of(loaded), checkpoint.config_of(loaded)
    return RunRecord(run_info=run_info, settings=settings, status=Status.EVALUATED)


def tested_checkpoints(
    ckpt_paths: Sequence[Path], loaded: dict[str, Any], datamodule: MammogramDataModule
) -> list[Path]:
    """Determine with which checkpoint each image is tested: never with one that it helped to select.

    If there is one checkpoint, and it was selected on one half of the held-out fold, only the other half is tested: the
    selections of the datamodule are reduced to this one.

    Args:
        ckpt_paths: The checkpoint, or the best checkpoints of a run, in the order of the selections.
        loaded: Content of the first one.
        datamodule: Data of the test, set up.

    Returns:
        Checkpoint of each selection of the datamodule.

    Raises:
        UserError: If the checkpoint was selected on a half, but its config tests only one half.
    """
    half = checkpoint.selected_on(loaded)
    if half is not None and len(ckpt_paths) == 1:
        datamodule.selections = [selection for selection in datamodule.selections if selection.name == half]
        if not datamodule.selections:
            raise UserError(f"{ckpt_paths[0]}: was selected on {half}, but its config does not have split.test=both")
        log.info(
            "%s was selected on %s of the held-out fold, so only the %d images of the other half are tested",
            ckpt_paths[0].name,
            half,
            datamodule.n_test_images,
        )
    n_selections = len(datamodule.selections)
    return list(ckpt_paths) if len(ckpt_paths) == n_selections else [ckpt_paths[0]] * n_selections


def run_test(
    cfg: DictConfig, loaded: dict[str, Any], ckpt_paths: Sequence[Path], output: RunFolder, rule: MatchingRule | None
) -> bool:
    """Test checkpoints, and write results.csv and, with `rule`, native.csv and candidates.csv.

    Args:
        cfg: Config of the checkpoints, with the data paths of this machine.
        loaded: Content of the first one.
        ckpt_paths: As for `evaluate`.
        output: Output folder.
        rule: Definition of a detection, or None.

    Returns:
        Whether only one half of the images of the run were tested, see `tested_checkpoints`.
    """
    datamodule = build_datamodule(cfg)
    datamodule.setup()
    tested = tested_checkpoints(ckpt_paths, loaded, datamodule)
    run_info = checkpoint.run_info_of(loaded)
    callbacks: list[Callback] = [TestedCheckpoints(tested), ResultsWriter(output.results, run_info)]
    if rule is not None:
        callbacks.append(NativeResolutionWriter(output.path, run_info, datamodule.dataset, rule))
    trainer = lightning.Trainer(
        accelerator=available_accelerator(cfg.trainer.accelerator),
        devices=1,
        precision=cfg.trainer.precision,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.test(build_segmenter(cfg, training=False), datamodule=datamodule, verbose=False)
    return len(datamodule.selections) < len(datamodule.split.selections())


def write_evaluation_report(rows: Sequence[results.ResultRow], output: RunFolder, rule: MatchingRule | None) -> None:
    """Write summary.md, with sections on native resolution if `rule` is not None, and print the tables."""
    summary = run_summary.summary_markdown(rows)
    native_sections = "" if rule is None else write_native_report(output.path, rule)
    atomic_write_text(output.summary, summary + native_sections)
    run_summary.print_summary(rows, output.path)
    if rule is not None:
        native_rows, _ = read_native_results(output.path)
        run_summary.print_summary(native_rows, output.path, "at native resolution")
        print(native_sections[native_sections.index("\n### Surface distances") :])


def resolve_data_paths(
    training_run: RunFolder, data_root: str | None, store_root: str | None, dataset: str
) -> DataPaths:
    """Determine the data paths of a checkpoint: those passed explicitly, otherwise those recorded by its run.

    Args:
        training_run: Run folder of the checkpoint.
        data_root: Folder of the dataset, or None.
        store_root: Folder of the prepared images, or None.
        dataset: Name of the dataset, for error messages.

    Raises:
        UserError: If the folder of the dataset is unknown.
    """
    explicit = {"root": data_root, "store": store_root}
    paths = replace(
        training_run.data_paths(),
        **{name: Path(path).expanduser().absolute() for name, path in explicit.items() if path},
    )
    if paths.root is None:
        raise UserError(
            f"dataset.root is unknown: checkpoints do not store it, and {training_run.path} is not the run folder of "
            f"this checkpoint; set dataset.root to the folder of the dataset ({dataset})"
        )
    return paths


def disable_training_settings(cfg: DictConfig) -> None:
    """Disable settings that only training needs, in place: augmentation and compilation."""
    cfg.augment = None
    cfg.pop("theta", None)  # an argument of the loss
    OmegaConf.update(cfg, "compile", None, force_add=True)  # compiling takes longer than a single test


def available_accelerator(accelerator: str) -> str:
    """Return the accelerator of the training run if this machine has it, otherwise "cpu"."""
    if accelerator in ("auto", "cpu") or torch.accelerator.is_available():
        return accelerator
    log.warning("no accelerator is available, testing on the CPU; results may differ by rounding")
    return "cpu"


def compare_with_training_run(rows: list[results.ResultRow], training_results: Path, one_half: bool = False) -> None:
    """Report whether the results equal those of the training run.

    Args:
        rows: Rows of results.csv of this evaluation.
        training_results: results.csv of the training run; nothing is reported if it does not exist.
        one_half: Whether only one half of the images of the training run were tested.
    """
    if not training_results.is_file():
        return
    previous = {row["case"]: [row[name] for name in results.COUNTS] for row in results.read_results(training_results)}
    current = {row["case"]: [row[name] for name in results.COUNTS] for row in rows}
    if one_half:
        previous = {case: counts for case, counts in previous.items() if case in current}
    if previous == current:
        print("identical to the results of the training run")
        return
    cases = previous.keys() | current.keys()
    n_changed = sum(previous.get(case) != current.get(case) for case in cases)
    log.warning(
        "%d of %d images differ from results.csv of the training run. Possible causes: rounding on another processor "
        "or with other library versions, last.ckpt instead of best.ckpt, or modified data",
        n_changed,
        len(cases),
    )
