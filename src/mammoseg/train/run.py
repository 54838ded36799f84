"""One run and its folder: from a composed config to checkpoints, results.csv, tables and pictures."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from mammoseg import processes
from mammoseg.build import build_datamodule, build_segmenter
from mammoseg.callbacks.epoch_summary import EpochLines
from mammoseg.callbacks.preemption import Preemption
from mammoseg.cli import conf_dir
from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.errors import UserError
from mammoseg.launch import distributed
from mammoseg.loggers.csv_history import history
from mammoseg.loggers.tensorboard import TensorBoardReport
from mammoseg.loggers.wandb import WandbReport
from mammoseg.reports import run_figures as figures
from mammoseg.reports import run_summary as tables
from mammoseg.runs import checkpoint, record, results
from mammoseg.segmenter import Segmenter

if TYPE_CHECKING:
    from mammoseg.launch.optuna_sweeper import Pruning

log = logging.getLogger(__name__)


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
        self.earlier: dict[str, Any] | None = None
        self.began = time.monotonic()
        quiet()
        self.report: WandbReport | TensorBoardReport = instantiate(cfg.logger)(
            folder=folder, about=about, settings=checkpoint.portable(cfg)
        )
        self.begins_at = 0  # the training step
        self.history: CSVLogger | None = None
        always: dict[str, Any] = {"dirpath": folder / "checkpoints", "enable_version_counter": False}
        self.best = ModelCheckpoint(filename="best", monitor="val/dsc", mode="max", **always)
        # Not save_last: that writes only when a new best one is written.
        self.last = ModelCheckpoint(filename="last", **always)

    @cached_property
    def datamodule(self) -> MammogramDataModule:
        return build_datamodule(self.cfg)

    @cached_property
    def segmenter(self) -> Segmenter:
        return build_segmenter(self.cfg)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Work in the folder while no other process does, and close what is open at the end.

        A job whose sweep was killed may still be at work when the sweep is started again.
        """
        said = f"{self.about['run']}: another process is at work on this run; waiting for it"
        # Of several ranks it is the launcher, or the first, that holds the lock.
        free = distributed.launched() or distributed.rank() > 0
        with nullcontext() if free else processes.alone(self.folder / ".lock", said):
            self.earlier = record.earlier(self.folder, self.record)
            try:
                yield
            finally:
                # W&B must be closed between the jobs of a sweep, or the next job lands in this one's run.
                self.report.finish()

    def train(self, pruning: Pruning | None = None) -> Run:
        """`pruning`: stops a trial of a search that lags behind the others."""
        lightning.seed_everything(self.cfg.seed, workers=True, verbose=False)
        resumed = self.resume_from()
        # Before any output: a wrong folder, split or theta ends here, with nothing half-written.
        self.datamodule.setup()
        self.segmenter.criterion.fit(self.datamodule.train_mass_fractions())
        self.write_beginnings()
        trainer = self.trainer([pruning] if pruning else [])
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
        if pruning and pruning.epoch is not None:
            self.record.update(pruned=pruning.epoch, score=self.score)
            if trainer.is_global_zero:
                record.write(self.folder, self.record)
        return self

    def test(self) -> Run:
        """Test the best checkpoint, unless training was pruned; the rest is for the process that writes."""
        if "pruned" in self.record:
            return self
        if not self.best.best_model_path:
            raise UserError("no epoch was finished, so there is nothing to test; raise trainer.max_epochs")
        trainer = self.trainer()
        trainer.test(
            self.segmenter,
            datamodule=self.datamodule,
            ckpt_path=self.best.best_model_path,
            weights_only=True,
            verbose=False,
        )
        if trainer.is_global_zero:
            self.publish()
        return self

    def publish(self) -> None:
        """Tables and pictures of what results.csv holds; with the score in run.json the run is finished."""
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
        if self.best.best_model_score is not None:
            return float(self.best.best_model_score)
        finished = record.read(self.folder)  # earlier, or by the ranks of this run
        assert finished is not None
        return float(finished["score"])

    def trainer(self, more: Sequence[Callback] = ()) -> lightning.Trainer:
        callbacks: list[Callback] = [
            *more,
            self.best,
            self.last,
            Preemption(self.folder / "checkpoints" / "last.ckpt"),
            checkpoint.Carry(self.folder, checkpoint.portable(self.cfg), self.about),
            results.ResultsWriter(self.folder / "results.csv", self.about),
            EpochLines(),
            LearningRateMonitor(),
        ]
        if self.cfg.patience is not None:
            callbacks.append(EarlyStopping("val/dsc", mode="max", patience=self.cfg.patience))
        several: dict[str, Any] = {}
        if distributed.together():
            several["sync_batchnorm"] = self.cfg.trainer.get("sync_batchnorm", True) and torch.cuda.is_available()
            several["use_distributed_sampler"] = False
        bar = self.cfg.trainer.enable_progress_bar and sys.stdout.isatty()
        try:
            # Partial: OmegaConf would look into every argument, and Lightning's empty logger cannot be looked into.
            return instantiate(self.cfg.trainer, _partial_=True)(
                callbacks=callbacks,
                plugins=[checkpoint.WholeFiles(), distributed.environment()],
                logger=self.loggers(),
                enable_progress_bar=bar,
                **several,
            )
        except InstantiationException as error:
            if not isinstance(error.__cause__, ValueError | TypeError | MisconfigurationException):
                raise
            raise UserError(f"trainer: {error.__cause__}; mend the trainer.* settings") from error
        except (ValueError, TypeError, MisconfigurationException) as error:
            raise UserError(f"trainer: {error}; mend the trainer.* settings") from error

    def loggers(self) -> list[Logger]:
        """Made once, since training and testing share them; only the process that writes has any."""
        if distributed.rank() > 0:
            return [DummyLogger()]
        if self.history is None:
            self.history = history(self.folder, self.begins_at)
        return [self.history, *self.report.loggers()]

    def resume_from(self) -> str | None:
        """The checkpoint to go on from; the best one so far, which must lie beside it, comes along."""
        path = self.folder / "checkpoints" / "last.ckpt"
        if self.earlier is not None and path.is_file():
            log.info("%s: goes on where it stopped", self.about["run"])
        elif self.cfg.ckpt_path is not None:
            path = Path(self.cfg.ckpt_path).expanduser()
        else:
            return None
        loaded = checkpoint.read(path, trust=None)  # rebuilt from what the user said now
        self.begins_at = loaded["global_step"]
        before, now = loaded[checkpoint.KEY]["config"], checkpoint.portable(self.cfg)
        for section in ("model", "loss", "dataset", "split"):
            if before[section] != now[section]:
                raise UserError(
                    f"{path}: it was trained with other {section} settings than this run has; go on with the same "
                    f"ones, which stand in .hydra/overrides.yaml of its run folder"
                )
        if not any(callback.get("best_model_score") for callback in loaded["callbacks"].values()):
            return str(path)  # stopped in its first epoch
        best = path.with_name("best.ckpt")
        if not best.is_file():
            raise UserError(f"{best}: not there, but the best checkpoint so far must lie beside the last one")
        mine = self.folder / "checkpoints" / "best.ckpt"
        if distributed.rank() == 0 and best.resolve() != mine.resolve():
            mine.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(best, mine)
        return str(path)

    def write_beginnings(self) -> None:
        if distributed.rank() > 0:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.datamodule.split.write(self.folder / "split.csv", self.datamodule.store.cases)
        record.write(self.folder, self.record)


def quiet() -> None:
    """Lightning's notes about devices and tips are not the user's business; warnings stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    # Lightning 2.6 calls a name that torch 2.13 has renamed.
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")
    # Where Slurm is installed, Lightning would rather be started by srun, and says so with the user's paths.
    warnings.filterwarnings("ignore", message="The `srun` command is available on your system but is not used")
    # A run that goes on finds its own checkpoints; the warning names the user's folders.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # What several processes log at the end of an epoch comes out of metrics that are the same in all of them.
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*when logging on epoch level in distributed setting")
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
