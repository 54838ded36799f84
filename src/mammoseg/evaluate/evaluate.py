"""From a checkpoint back to the objects of its run, and their test results."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf

from mammoseg.build import build_datamodule, build_segmenter
from mammoseg.callbacks.results_writer import ResultsWriter
from mammoseg.errors import UserError
from mammoseg.evaluate import native_report as report
from mammoseg.evaluate import native_resolution as native
from mammoseg.metrics.detection import MatchingRule
from mammoseg.reports import run_summary as tables
from mammoseg.runs import checkpoint, results
from mammoseg.segmenter import Segmenter
from mammoseg.train.run import quiet

log = logging.getLogger(__name__)


def evaluate(
    path: Path,
    root: str | None,
    store: str | None,
    folder: Path,
    rule: MatchingRule | None = None,
    trust: Sequence[str] = (),
) -> list[results.ResultRow]:
    """Test the checkpoint at `path` on its own test part; writes results.csv and summary.md into `folder`.

    With `rule`, what counts as a detection, also at native resolution: native.csv, candidates.csv, froc.png.
    Where the run's results.csv stands beside the checkpoint, the two are compared and the outcome is told.
    `trust`: as `checkpoint.read` takes it.
    Raises UserError for a file that is no checkpoint, or where the dataset is not known.
    """
    quiet()
    loaded = checkpoint.read(path, trust)
    run_folder = path.resolve().parent.parent
    cfg = OmegaConf.create(loaded[checkpoint.KEY]["config"])
    assert isinstance(cfg, DictConfig)
    place(cfg, run_folder, root, store)
    datamodule = build_datamodule(cfg)
    segmenter = build_segmenter(cfg)
    load_weights(segmenter, loaded["state_dict"], path)
    about = loaded[checkpoint.KEY]["about"]
    writers: list[Callback] = [ResultsWriter(folder / "results.csv", about)]
    if rule is not None:
        datamodule.setup()  # a wrong folder ends here
        writers.append(native.NativeWriter(folder, about, datamodule.dataset, rule))
    trainer: lightning.Trainer = instantiate(
        cfg.trainer, callbacks=writers, logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    trainer.test(segmenter, datamodule=datamodule, verbose=False)
    rows = results.read_results(folder / "results.csv")
    summary = tables.markdown(rows)
    if rule is not None:
        summary += report.publish(folder, rule)
    (folder / "summary.md").write_text(summary)
    tables.print_table(rows, folder)
    if rule is not None:
        tables.print_table(native.read(folder)[0], folder, "at native resolution")
        print(summary[summary.index("\nDistances") :])
    compare(rows, run_folder / "results.csv")
    return rows


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


def place(cfg: DictConfig, run_folder: Path, root: str | None, store: str | None) -> None:
    """Fill in the user's folders, which a checkpoint does not carry; augmentation is for training only."""
    composed = run_folder / ".hydra" / "config.yaml"
    known: Any = OmegaConf.load(composed) if composed.is_file() else OmegaConf.create()
    cfg.dataset.root = root or OmegaConf.select(known, "dataset.root")
    cfg.dataset.store = store or OmegaConf.select(known, "dataset.store") or "data/prepared"
    if "tables" in cfg.dataset.reader:
        cfg.dataset.reader.tables = OmegaConf.select(known, "dataset.reader.tables")
    cfg.augment = None
    OmegaConf.update(cfg, "compile", None, force_add=True)  # testing once does not pay for it
    cfg.trainer.devices, cfg.trainer.strategy = 1, "auto"  # the results do not depend on their number
    if cfg.dataset.root is None:
        raise UserError(
            f"a checkpoint does not say where its dataset ({cfg.dataset.name}) lies, and {composed} is not there; "
            "give it as root=<folder>"
        )


def compare(rows: list[results.ResultRow], beside: Path) -> None:
    if not beside.is_file():
        return
    before = {row["case"]: [row[name] for name in results.COUNTS] for row in results.read_results(beside)}
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
