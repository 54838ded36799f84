"""Evaluate checkpoints on the test set of their run, or on another dataset."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf

from mammoseg.build import build_datamodule, build_segmenter
from mammoseg.callbacks.results_writer import ResultsWriter
from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.ensemble import common_threshold, load_network, preprocessing_settings
from mammoseg.errors import UserError
from mammoseg.evaluate.active_networks import ActiveNetworks
from mammoseg.evaluate.detection_results import (
    DetectionWriter,
    PredictionModule,
    detection_summary,
    tests_detection_only,
)
from mammoseg.evaluate.external import ExternalEvaluation
from mammoseg.evaluate.members import INSTANTIATED_SECTIONS, OTHER_DATASET_SECTIONS, Member, load_members
from mammoseg.evaluate.native_report import write_native_report
from mammoseg.evaluate.native_resolution import NativeResolutionWriter, read_native_results
from mammoseg.evaluate.previous_outputs import remove_previous_outputs
from mammoseg.evaluate.test_plan import TestPlan, is_one_run, plan_test
from mammoseg.evaluate.test_trainer import build_test_trainer
from mammoseg.evaluate.tested_dataset import EvaluationOptions, dataset_section, tested_config
from mammoseg.files import atomic_write_text
from mammoseg.mean_network import MeanNetwork, flips_of, mirrors_at_random
from mammoseg.metrics.detection import MatchingRule
from mammoseg.reports import run_summary
from mammoseg.runs import results
from mammoseg.runs.folder import DataPaths, RunFolder
from mammoseg.runs.record import RunRecord, Status, write_record
from mammoseg.segmenter import Segmenter
from mammoseg.terminal import configure_library_logging

log = logging.getLogger(__name__)


def evaluate(ckpt_paths: Sequence[Path], output_dir: Path, options: EvaluationOptions) -> list[results.ResultRow]:
    """Evaluate checkpoints, and report whether the results equal those of the run.

    Args:
        ckpt_paths: The checkpoints; several are an ensemble, or the best checkpoints of a run with split.test=both.
        output_dir: Output folder of results.csv and summary.md.
        options: Dataset, part and further options.

    Returns:
        Rows of results.csv; none if only detection is evaluated, see `detection_results`.

    Raises:
        UserError: If a checkpoint cannot be loaded, the folder of the dataset is unknown, or an image has been seen by
            all of several checkpoints.
    """
    configure_library_logging()
    sections = OTHER_DATASET_SECTIONS if options.chooses_dataset else INSTANTIATED_SECTIONS
    members = load_members(ckpt_paths, options.trusted_modules, sections)
    cfg = config_of_test(members, options)
    datamodule = build_datamodule(cfg)
    plan = plan_test(members, datamodule, dataset_section(cfg), options)
    datamodule.set_up_test(plan.selections)
    report_half(members, plan, options)
    repeats = repeats_test(members, plan, options)
    external = None if repeats else ExternalEvaluation(members, plan, cfg, options.tta)
    output = RunFolder(output_dir)
    remove_previous_outputs(output)
    output.write_data_paths(cfg.dataset)
    segmenter = load_mean_segmenter(cfg, members, options)
    if tests_detection_only(plan, datamodule.store):
        evaluate_detection(cfg, datamodule, plan, segmenter, output, options.rule, external)
        write_record(output, evaluation_record(members, external))
        return []
    run_test(cfg, datamodule, plan, segmenter, result_writers(members, datamodule, output, options, external))
    write_record(output, evaluation_record(members, external))
    rows = results.read_results(output.results)
    write_evaluation_report(rows, output, options.rule, external)
    if external is None:
        compare_with_training_run(rows, members[0].folder.results, len(members) == 1 and bool(members[0].selected_on))
    return rows


def config_of_test(members: Sequence[Member], options: EvaluationOptions) -> DictConfig:
    """Return the config of the test, with the data paths and the threshold; see `tested_config`."""
    cfg = tested_config(members, options)
    if not options.chooses_dataset:
        data_paths = resolve_data_paths(members[0].folder, options.dataset, cfg.dataset.name)
        data_paths.apply(cfg.dataset)
    disable_training_settings(cfg)
    configs = [member.config for member in members]
    cfg.threshold = common_threshold(configs) if options.threshold is None else options.threshold
    return cfg


def repeats_test(members: Sequence[Member], plan: TestPlan, options: EvaluationOptions) -> bool:
    """Return whether an evaluation repeats the test of a run, so that the results should be the same."""
    is_changed = options.chooses_dataset or options.tta or options.threshold is not None or plan.part != "test"
    has_seen_images = not {"train", "val"}.isdisjoint(plan.seen.values())
    return not is_changed and not has_seen_images and (len(members) == 1 or is_one_run(members))


def report_half(members: Sequence[Member], plan: TestPlan, options: EvaluationOptions) -> None:
    """Log that a checkpoint that was selected on a half of the held-out fold is tested only on the other half."""
    if len(members) == 1 and members[0].selected_on and plan.part == "test" and not options.chooses_dataset:
        log.info(
            "%s was selected on %s of the held-out fold, so only the %d images of the other half are tested",
            members[0].path.name,
            members[0].selected_on,
            len(plan.seen),
        )


def evaluation_record(members: Sequence[Member], external: ExternalEvaluation | None) -> RunRecord:
    """Return the record of a folder with the results of checkpoints."""
    if external is None:
        member = members[0]
        return RunRecord(run_info=member.run_info, settings=member.config, status=Status.EVALUATED)
    return RunRecord(
        run_info=external.run_info,
        settings=external.settings,
        status=Status.EVALUATED,
        evaluation=external.record,
    )


def result_writers(
    members: Sequence[Member],
    datamodule: MammogramDataModule,
    output: RunFolder,
    options: EvaluationOptions,
    external: ExternalEvaluation | None,
) -> list[Callback]:
    """Return the callbacks that write results.csv and, with `options.rule`, native.csv and candidates.csv.

    Args:
        members: The checkpoints.
        datamodule: Data of the test, set up.
        output: Output folder.
        options: See `EvaluationOptions`.
        external: Further columns of results.csv; None if the test of a run is repeated.
    """
    run_info = members[0].run_info if external is None else external.run_info
    writers: list[Callback] = [ResultsWriter(output.results, run_info, {} if external is None else external.columns)]
    if options.rule is not None:
        writers.append(NativeResolutionWriter(output.path, run_info, datamodule.dataset, options.rule))
    return writers


def run_test(
    cfg: DictConfig,
    datamodule: MammogramDataModule,
    plan: TestPlan,
    module: lightning.LightningModule,
    writers: Sequence[Callback],
) -> None:
    """Predict the images of the test.

    Args:
        cfg: Config of the test.
        datamodule: Data of the test, set up.
        plan: Which checkpoints predict which images.
        module: Contains the networks of the checkpoints.
        writers: Callbacks that write the results.
    """
    trainer = build_test_trainer(cfg, [ActiveNetworks(list(plan.groups)), *writers])
    trainer.test(module, datamodule=datamodule, verbose=False)


def evaluate_detection(
    cfg: DictConfig,
    datamodule: MammogramDataModule,
    plan: TestPlan,
    segmenter: Segmenter,
    output: RunFolder,
    rule: MatchingRule | None,
    external: ExternalEvaluation | None,
) -> None:
    """Evaluate detection only, and write detection.csv, candidates.csv and summary.md.

    Args:
        cfg: See `run_test`.
        datamodule: See `run_test`.
        plan: See `run_test`.
        segmenter: Contains the networks of the checkpoints.
        output: Output folder.
        rule: Definition of candidates and of their match with a mass.
        external: Further columns of detection.csv.
    """
    assert rule is not None, "plan_test requires outlines without it"
    assert external is not None, "training requires outlines"
    writer = DetectionWriter(output.path, datamodule.dataset, rule, external.columns)
    run_test(cfg, datamodule, plan, PredictionModule(segmenter), [writer])
    summary = detection_summary(writer, f"{external.run_info['run']}, tested on {external.run_info['dataset']}")
    atomic_write_text(output.summary, summary + external.notes)
    print(summary)
    external.log_notes()


def load_mean_segmenter(cfg: DictConfig, members: Sequence[Member], options: EvaluationOptions) -> Segmenter:
    """Load the networks of the checkpoints as one segmenter, with test-time augmentation if `options.tta`."""
    mirrored = mirrors_at_random(member.config for member in members)
    flips = flips_of(preprocessing_settings(members[0].config).flip, mirrored) if options.tta else [()]
    network = MeanNetwork([load_network(member.loaded, member.path) for member in members], flips)
    return build_segmenter(cfg, training=False, net=network)


def write_evaluation_report(
    rows: Sequence[results.ResultRow],
    output: RunFolder,
    rule: MatchingRule | None,
    external: ExternalEvaluation | None,
) -> None:
    """Write summary.md, with sections on native resolution if `rule` is not None, and print the tables."""
    summary = run_summary.summary_markdown(rows) + ("" if external is None else external.notes)
    native_sections = "" if rule is None else write_native_report(output.path, rule)
    atomic_write_text(output.summary, summary + native_sections)
    run_summary.print_summary(rows, output.path)
    if external is not None:
        external.log_notes()
    if rule is not None:
        native_rows, _ = read_native_results(output.path)
        run_summary.print_summary(native_rows, output.path, "at native resolution")
        print(native_sections[native_sections.index("\n### Surface distances") :])


def resolve_data_paths(training_run: RunFolder, dataset: Mapping[str, Any], name: str) -> DataPaths:
    """Determine the data paths of a checkpoint: those of the command line, otherwise those recorded by its run.

    Args:
        training_run: Run folder of the checkpoint.
        dataset: Settings root and store of the command line, which may be None.
        name: Name of the dataset, for error messages.

    Raises:
        UserError: If the folder of the dataset is unknown.
    """
    explicit = {key: dataset.get(key) for key in ("root", "store")}
    paths = replace(
        training_run.data_paths(),
        **{key: Path(str(path)).expanduser().absolute() for key, path in explicit.items() if path},
    )
    if paths.root is None:
        raise UserError(
            f"dataset.root is unknown: checkpoints do not store it, and {training_run.path} is not the run folder of "
            f"this checkpoint; set dataset.root to the folder of the dataset ({name}), and dataset= if its files have "
            "another layout than those of the training"
        )
    return paths


def disable_training_settings(cfg: DictConfig) -> None:
    """Disable settings that only training needs, in place: augmentation and compilation."""
    cfg.augment = None
    cfg.pop("theta", None)  # an argument of the loss
    OmegaConf.update(cfg, "compile", None, force_add=True)  # compiling takes longer than a single test


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
