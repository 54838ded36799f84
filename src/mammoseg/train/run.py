"""Training run: from a composed config to checkpoints, results, tables and figures in the run folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger
from omegaconf import DictConfig

from mammoseg import build, processes, validate
from mammoseg.callbacks.preemption import PreemptionCallback
from mammoseg.callbacks.provenance import ProvenanceCallback
from mammoseg.callbacks.results_writer import ResultsWriter
from mammoseg.callbacks.run_checkpoint import RunCheckpoint
from mammoseg.callbacks.tested_checkpoints import TestedCheckpoints
from mammoseg.cli import user_message
from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.errors import UserError
from mammoseg.launch import distributed
from mammoseg.loggers.csv_history import MetricsLogger, resumable_csv_logger
from mammoseg.runs import checkpoint
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.latest_link import link_latest
from mammoseg.runs.record import RunRecord, Status, make_record, read_record, redact_paths, write_record
from mammoseg.segmenter import Segmenter
from mammoseg.terminal import configure_library_logging
from mammoseg.train.best_checkpoints import BestCheckpoints, warn_about_monitors
from mammoseg.train.init_from import InitialWeights
from mammoseg.train.interruption import explain_interruption, trainer_errors
from mammoseg.train.monitored_metrics import check_monitored_metrics
from mammoseg.train.next_commands import print_commands_after_training
from mammoseg.train.reporting import write_reports
from mammoseg.train.resume import check_epochs, epochs_of, load_previous_record, remember_overrides
from mammoseg.train.resume_state import check_best_checkpoints, check_network, check_split, load_last_checkpoint
from mammoseg.train.start_report import log_start, report_unfinished

if TYPE_CHECKING:
    from mammoseg.callbacks.optuna_pruning import OptunaPruningCallback

log = logging.getLogger(__name__)


class TrainingRun:
    """Trains and tests a network and reports the results.

    Writes the files of `RunFolder`. If the folder contains the same run, unfinished, training resumes from its last
    checkpoint.

    Args:
        cfg: Composed config of `train`.
        folder: Run folder.
        run_info: Identity of the run, see `train.identity.run_info`.

    Raises:
        UserError: If a setting is invalid, or a file with initial weights does not exist.
    """

    def __init__(self, cfg: DictConfig, folder: RunFolder, run_info: dict[str, Any]) -> None:
        self.cfg = cfg
        self.folder = folder
        self.run_info = run_info
        validate.positive_int("epochs", cfg.trainer.max_epochs)
        self.initial_weights = InitialWeights(cfg, folder)
        self.record = make_record(cfg, run_info, self.initial_weights.digests)
        self.previous: RunRecord | None = None
        self.start_time = time.monotonic()
        self.initial_global_step = 0
        self.train_metrics: dict[str, float] | None = None
        configure_library_logging()
        self.run_loggers = build.build_loggers(cfg, folder.path, run_info, self.record.settings)
        self.csv_logger: MetricsLogger | None = None
        self.best = BestCheckpoints(folder, ())  # those of the split, after `_set_up_data`
        self.last = RunCheckpoint(folder.last_checkpoint)  # save_last writes it only with a new best checkpoint

    @cached_property
    def datamodule(self) -> MammogramDataModule:
        """The datamodule, built on first use."""
        return build.build_datamodule(self.cfg, training=True)

    @cached_property
    def segmenter(self) -> Segmenter:
        """The LightningModule, built on first use."""
        return build.build_segmenter(self.cfg)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock of the run folder; on exit, record the status and close the experiment loggers.

        The lock is required since a job of a killed sweep may still be running when the sweep is restarted.

        Raises:
            UserError: If the folder contains a run with different settings.
        """
        message = f"{self.run_info['run']}: waiting for another process that works on this run"
        # The launcher or rank 0 holds the lock for all processes of the run.
        lock_held_by_launcher = distributed.is_worker() or distributed.rank() > 0
        with nullcontext() if lock_held_by_launcher else processes.exclusive_lock(self.folder.lock, message):
            self._load_previous()
            try:
                with explain_interruption(self.folder):
                    yield
            except (KeyboardInterrupt, SystemExit):
                self._update_status(Status.STOPPED)
                raise
            except Exception as error:
                message = user_message(error) or f"{type(error).__name__}: {error}"
                line = message.splitlines()[0] if message else ""
                self._update_status(Status.FAILED, redact_paths(line, self.folder.path, self.cfg))
                raise
            finally:
                # An open W&B run would receive the logs of the next job of the sweep.
                with ExitStack() as stack:  # closes all loggers, even if one raises
                    for run_logger in self.run_loggers:
                        stack.callback(run_logger.close)

    def _load_previous(self) -> None:
        self.previous = load_previous_record(self.folder, self.record, self.cfg)
        if (stored := read_record(self.folder)) is not None:
            self.record = replace(self.record, job=stored.job, started=stored.started or self.record.started)
        if self.previous is None:
            report_unfinished(self.folder, self.record)

    def _update_status(self, status: Status, error: str | None = None) -> None:
        """Record how the run ended, unless it ended before it wrote its record."""
        stored = read_record(self.folder)
        started = stored is not None and not stored.is_complete and stored.settings == self.record.settings
        if distributed.rank() == 0 and stored is not None and started:
            write_record(self.folder, replace(stored, status=status, error=error))

    @property
    def finished(self) -> bool:
        """Whether the folder contains the results of this run."""
        if self.previous is None or not self.previous.is_complete:
            return False
        if self.cfg.resume is not None and self._epochs_changed(self.previous):
            return False
        if self.previous.status is Status.FINISHED and not self.folder.results.is_file():  # it was deleted
            return False
        log.info("%s: already finished, skipping; its results are in %s", self.run_info["run"], self.folder.path)
        return True

    @property
    def score(self) -> float:
        """Validation DSC of the best checkpoint, which sweeps maximise; the mean of two with split.test=both."""
        if self.best.score is not None:
            return self.best.score
        stored = read_record(self.folder)  # of the finished run, or written by workers
        if stored is None or stored.score is None:
            raise UserError(
                f"{self.folder.record}: score must be a number in a finished run, got null; restore the file, or "
                "delete the run folder and repeat the run"
            )
        return float(stored.score)

    def train(self, pruning: OptunaPruningCallback | None = None) -> TrainingRun:
        """Train the network.

        Args:
            pruning: Callback that stops unpromising trials of a search, or None.

        Returns:
            This run, for chaining.

        Raises:
            UserError: If a setting is invalid, or the checkpoint to resume from does not match the settings.
            GracefulExit: If a signal stopped training.
        """
        lightning.seed_everything(self.cfg.seed, workers=True, verbose=False)
        ckpt_path = self._resume_checkpoint()
        if self._is_trained() and ckpt_path is not None:
            self._restore_best()
            return self
        # Before any file is written, so that an invalid folder, split or theta leaves no files.
        if ckpt_path is None:  # before the images are prepared, which can take minutes
            self.initial_weights.load_into(self.segmenter.net)
        self._set_up_data()
        check_monitored_metrics(self.segmenter, build.build_callbacks(self.cfg))
        self._write_initial_files()
        trainer = self.build_trainer([pruning] if pruning else [])
        split, cases = self.datamodule.split, self.datamodule.store.cases
        log_start(self.run_info["run"], self.folder, trainer, self.segmenter, split, cases)
        with trainer_errors():
            trainer.fit(self.segmenter, datamodule=self.datamodule, ckpt_path=ckpt_path, weights_only=True)
        self.record = replace(self.record, trained=True)
        if pruning and pruning.pruned_epoch is not None:
            self.record = replace(self.record, status=Status.PRUNED, pruned=pruning.pruned_epoch, score=self.score)
        if trainer.is_global_zero:
            write_record(self.folder, self.record)
        return self

    def _set_up_data(self) -> None:
        self.datamodule.setup()
        self.segmenter.criterion.fit(self.datamodule.train_mass_fractions())
        self.best = BestCheckpoints(self.folder, self.datamodule.selections, self.cfg.model_selection)
        if len(self.datamodule.selections) > 1 and distributed.rank() == 0:
            warn_about_monitors(self.cfg)

    def _is_trained(self) -> bool:
        """Return True if a previous start of the run completed its training, but not the test."""
        return self.previous is not None and self.previous.trained and not self._epochs_changed(self.previous)

    def _epochs_changed(self, previous: RunRecord) -> bool:
        return bool(self.cfg.trainer.max_epochs != epochs_of(previous, self.folder))

    def _restore_best(self) -> None:
        """Restore paths and scores of the best checkpoints from the last checkpoint, in place of training."""
        self._set_up_data()
        self.best.restore(load_last_checkpoint(self.folder))
        self.record = replace(self.record, trained=True)
        self._write_initial_files()

    def test(self) -> TrainingRun:
        """Test the best checkpoints and write the reports, unless the run was pruned; returns this run.

        Raises:
            UserError: If there is no checkpoint.
        """
        if self.record.status is Status.PRUNED:
            return self
        if not self.best.paths:
            if self.previous is None and distributed.rank() == 0:
                self.folder.last_checkpoint.unlink(missing_ok=True)  # so that the folder of this start is removed
            raise UserError(
                "no epoch was completed, so there is no checkpoint to test; increase epochs, "
                "or trainer.max_steps or max_time if they are set"
            )
        trainer = self.build_trainer([TestedCheckpoints(self.best.paths)])
        with trainer_errors():
            trainer.test(self.segmenter, datamodule=self.datamodule, verbose=False)
        if trainer.is_global_zero:
            self._finish()
        return self

    def build_trainer(self, extra_callbacks: Sequence[Callback] = ()) -> lightning.Trainer:
        """Build a trainer with the callbacks of the config and those that every run requires."""
        required = [
            *extra_callbacks,
            *self.best.callbacks,
            self.last,
            ProvenanceCallback(self.folder.path, self.record.settings, self.run_info),
            ResultsWriter(self.folder.results, self.run_info),
            PreemptionCallback(self.folder.last_checkpoint),
        ]
        return build.build_trainer(self.cfg, build.build_callbacks(self.cfg, required), self._loggers())

    def _loggers(self) -> list[Logger]:
        """Return Lightning's loggers, the same ones for training and testing; only rank 0 logs."""
        if distributed.rank() > 0:
            return [DummyLogger()]
        if self.csv_logger is None:
            self.csv_logger = resumable_csv_logger(self.folder.metrics, self.initial_global_step, self.train_metrics)
        return [self.csv_logger, *(logger for run_logger in self.run_loggers for logger in run_logger.loggers())]

    def _write_initial_files(self) -> None:
        """Write the split, the record, and the data paths and overrides for `resume`."""
        if distributed.rank() > 0:
            return
        split, cases = self.datamodule.split, self.datamodule.store.cases
        if self.previous is not None and self.folder.last_checkpoint.is_file():
            check_split(self.folder, split, cases)
        split.write(self.folder.split, cases)
        self.folder.write_data_paths(self.cfg.dataset)
        if self.cfg.resume is not None:
            remember_overrides(self.folder)
        write_record(self.folder, self.record)

    def _finish(self) -> None:
        """Write the reports, and record the run as finished."""
        write_reports(self.folder, self.datamodule.store, self.run_loggers)
        # The duration of an interrupted run is unknown.
        minutes = None if self.previous else (time.monotonic() - self.start_time) / 60
        parameters = sum(value.numel() for value in self.segmenter.net.parameters())
        finished = replace(
            self.record, status=Status.FINISHED, score=self.score, parameters=parameters, minutes=minutes, error=None
        )
        write_record(self.folder, finished)
        link_latest(self.folder, finished.started)
        print_commands_after_training(self.folder)

    def _resume_checkpoint(self) -> str | None:
        """Return the path of the checkpoint to resume from, or None."""
        if self.previous is None or not (path := self.folder.last_checkpoint).is_file():
            return None
        loaded = load_last_checkpoint(self.folder)
        self.initial_global_step = loaded["global_step"]
        self.train_metrics = loaded[checkpoint.PROVENANCE_KEY].get("train_metrics")
        check_epochs(loaded, self.cfg.trainer.max_epochs)
        check_network(loaded, self.segmenter.net, path)
        check_best_checkpoints(loaded, self.folder)
        log.info("%s: resuming after step %d", self.run_info["run"], self.initial_global_step)
        return str(path)
