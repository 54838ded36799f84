"""One run and its folder: from a composed config to checkpoints, results.csv, tables and pictures."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from mammoseg import checkpoint, record, results
from mammoseg.cli import conf_dir
from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.errors import UserError
from mammoseg.report import figures, tables
from mammoseg.report.console import EpochLines
from mammoseg.report.tensorboard import TensorBoardReport
from mammoseg.report.wandb import WandbReport
from mammoseg.segmenter import Segmenter

log = logging.getLogger(__name__)


def build_datamodule(cfg: DictConfig) -> MammogramDataModule:
    return MammogramDataModule(
        dataset=instantiate(cfg.dataset),
        splitter=instantiate(cfg.split),
        batch_size=cfg.batch_size,
        num_workers=cfg.num_workers,
        augment=instantiate(cfg.augment),
        seed=cfg.seed,
    )


def build_segmenter(cfg: DictConfig) -> Segmenter:
    return Segmenter(
        net=instantiate(cfg.model),
        criterion=instantiate(cfg.loss),
        optimizer=instantiate(cfg.optimizer),
        scheduler=instantiate(cfg.scheduler),
        threshold=cfg.threshold,
        channels_last=cfg.channels_last,
    )


class Run:
    """Train, test and report one composed config in `folder`.

    Written there: run.json, checkpoints/best.ckpt (by validation DSC) and last.ckpt, split.csv, metrics.csv,
    results.csv, predictions.npz, calibration.csv, summary.md, curves.png, overlays.png, and the W&B run.
    A folder that holds the same run already, begun but not finished, is gone on with.
    """

    def __init__(self, cfg: DictConfig, folder: Path, about: dict[str, Any]) -> None:
        self.cfg = cfg
        self.folder = folder
        self.about = about
        self.record = record.describe(cfg, about)
        self.earlier = record.earlier(folder, self.record)
        self.began = time.monotonic()
        quiet()
        lightning.seed_everything(cfg.seed, workers=True, verbose=False)
        self.datamodule = build_datamodule(cfg)
        self.segmenter = build_segmenter(cfg)
        self.report: WandbReport | TensorBoardReport = instantiate(cfg.logger)(
            folder=folder, about=about, settings=checkpoint.portable(cfg)
        )
        self.metrics_log: CSVLogger | None = None
        always: dict[str, Any] = {"dirpath": folder / "checkpoints", "enable_version_counter": False}
        self.best = ModelCheckpoint(filename="best", monitor="val/dsc", mode="max", **always)
        # Not save_last: that writes only when a new best one is written.
        self.last = ModelCheckpoint(filename="last", **always)

    def train(self) -> Run:
        resumed = self.resume_from()
        # Before any output: a wrong folder, split or theta ends here, with nothing half-written.
        self.datamodule.setup()
        self.segmenter.criterion.fit(self.datamodule.train_ratios())
        self.write_beginnings()
        trainer = self.trainer()
        try:
            trainer.fit(self.segmenter, datamodule=self.datamodule, ckpt_path=resumed, weights_only=True)
        except SystemExit as ended:
            # Lightning turns Ctrl-C into exit(1).
            if isinstance(ended.__context__, KeyboardInterrupt):
                last = self.folder / "checkpoints" / "last.ckpt"
                raise KeyboardInterrupt(f"; go on with ckpt_path={last}" if last.is_file() else "") from ended
            raise
        except MisconfigurationException as error:
            raise UserError(f"trainer: {error}") from error
        return self

    def test(self) -> Run:
        if not self.best.best_model_path:
            raise UserError("no epoch was finished, so there is nothing to test; raise trainer.max_epochs")
        self.trainer().test(
            self.segmenter,
            datamodule=self.datamodule,
            ckpt_path=self.best.best_model_path,
            weights_only=True,
            verbose=False,
        )
        rows = results.read(self.folder / "results.csv")
        (self.folder / "summary.md").write_text(tables.markdown(rows))
        figures.curves(self.folder / "metrics.csv", self.folder / "curves.png")
        shown = figures.examples(rows, self.datamodule, self.segmenter)
        figures.overlays(shown, self.folder / "overlays.png")
        self.report.images(shown)
        tables.show(rows, self.folder)
        # The minutes of a run that was stopped in between are not known.
        minutes = None if self.earlier else (time.monotonic() - self.began) / 60
        parameters = sum(value.numel() for value in self.segmenter.net.parameters())
        record.write(self.folder, {**self.record, "score": self.score, "parameters": parameters, "minutes": minutes})
        return self

    @property
    def finished(self) -> bool:
        """Whether the folder holds the results of this very run already, so that it need not run again."""
        done = self.earlier is not None and "score" in self.earlier
        if done:
            log.info("%s: finished before, nothing to do; its results are in %s", self.about["run"], self.folder)
        return done

    @property
    def score(self) -> float:
        """The validation DSC of the kept checkpoint: what a sweep maximises."""
        if self.earlier is not None and "score" in self.earlier:
            return float(self.earlier["score"])
        assert self.best.best_model_score is not None
        return float(self.best.best_model_score)

    def trainer(self) -> lightning.Trainer:
        callbacks: list[Callback] = [
            self.best,
            self.last,
            checkpoint.Carry(self.folder, checkpoint.portable(self.cfg), self.about),
            results.ResultsWriter(self.folder / "results.csv", self.about),
            EpochLines(),
            LearningRateMonitor(),
        ]
        if self.cfg.patience is not None:
            callbacks.append(EarlyStopping("val/dsc", mode="max", patience=self.cfg.patience))
        bar = self.cfg.trainer.enable_progress_bar and sys.stdout.isatty()
        try:
            trainer: lightning.Trainer = instantiate(
                self.cfg.trainer, callbacks=callbacks, logger=self.loggers(), enable_progress_bar=bar
            )
        except InstantiationException as error:
            if isinstance(error.__cause__, ValueError | TypeError | MisconfigurationException):
                raise UserError(f"trainer: {error.__cause__}; mend the trainer.* settings") from error
            raise
        if trainer.world_size > 1:
            raise UserError(
                f"trainer.devices={self.cfg.trainer.devices}: one run trains on one device for now; "
                "set trainer.devices=1 and sweep over several runs instead"
            )
        return trainer

    def loggers(self) -> list[Logger]:
        """Made once: a second CSVLogger would delete what training wrote when the test begins."""
        if self.metrics_log is None:
            with warnings.catch_warnings():
                # It warns of a folder that is not empty, ours holds the composed config already, and deletes
                # the metrics of a run that goes on in its own folder.
                warnings.filterwarnings("ignore", message="Experiment logs directory")
                before = self.folder / "metrics.csv"
                if before.is_file():
                    before.replace(self.folder / "metrics.before.csv")
                self.metrics_log = CSVLogger(self.folder, name="", version="")
                assert self.metrics_log.experiment
        return [self.metrics_log, *self.report.loggers()]

    def resume_from(self) -> str | None:
        """The checkpoint to go on from; the best one so far, which must lie beside it, comes along."""
        path = self.folder / "checkpoints" / "last.ckpt"
        if self.cfg.ckpt_path is not None:
            path = Path(self.cfg.ckpt_path).expanduser()
        elif self.earlier is None or not path.is_file():
            return None
        else:
            log.info("%s: goes on where it stopped", self.about["run"])
        before, now = checkpoint.read(path)[checkpoint.KEY]["config"], checkpoint.portable(self.cfg)
        for section in ("model", "loss", "dataset", "split"):
            if before[section] != now[section]:
                raise UserError(
                    f"{path}: it was trained with other {section} settings than this run has; go on with the same "
                    f"ones, which stand in .hydra/overrides.yaml of its run folder"
                )
        best = path.with_name("best.ckpt")
        if not best.is_file():
            raise UserError(f"{best}: not there, but the best checkpoint so far must lie beside the last one")
        mine = self.folder / "checkpoints" / "best.ckpt"
        if best.resolve() != mine.resolve():
            mine.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(best, mine)
        return str(path)

    def write_beginnings(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.datamodule.split.write(self.folder / "split.csv", self.datamodule.store.cases)
        record.write(self.folder, self.record)

    def finish(self) -> None:
        """W&B must be closed between the jobs of a sweep, or the next job lands in this one's run."""
        self.report.finish()


def quiet() -> None:
    """Lightning's notes about devices and tips are not the user's business; warnings stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    # Lightning 2.6 calls a name that torch 2.13 has renamed.
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")
    torch.set_float32_matmul_precision("high")


def about(cfg: DictConfig, choices: Any) -> dict[str, Any]:
    """What tells one run from another, as it stands in results.csv and on W&B."""
    fold = OmegaConf.select(cfg, "split.fold", default="")
    method = method_of(choices.model, choices.loss)
    run = "-".join([cfg.dataset.name, method, *([f"fold{fold}"] if fold != "" else []), f"seed{cfg.seed}"])
    return {
        "run": run,
        "experiment": choices.get("experiment") or "",
        "dataset": cfg.dataset.name,
        "method": method,
        "model": choices.model,
        "loss": choices.loss,
        "fold": fold,
        "seed": cfg.seed,
    }


def method_of(model: str, loss: str) -> str:
    """The name in conf/method of a network with a loss, which is its row's in the paper's tables."""
    for path in sorted((conf_dir() / "method").glob("*.yaml")):
        chosen = {key: value for entry in OmegaConf.load(path).defaults for key, value in entry.items()}
        if chosen == {"override /model": model, "override /loss": loss}:
            return path.stem
    return f"{model}-{loss}"
