"""Weights & Biases logger that records no information about the machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from mammoseg import validate
from mammoseg.errors import UserError
from mammoseg.loggers.base import RunLogger
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.results import COUNTS

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger, WandbLogger

    from mammoseg.reports.run_figures import Example
    from mammoseg.runs.results import ResultRow

TABLE_COLUMNS = ("case", "side", "view", "density", *COUNTS)  # of results.csv
MODES = ("offline", "online", "disabled")


class WandbRunLogger(RunLogger):
    """Logger that creates one W&B run per training run, in `folder`/wandb.

    No paths, host name, command line, code or console output are recorded.

    Args:
        folder: Run folder.
        run_info: Identity of the run, from which name, group and tags of the W&B run are derived.
        settings: Public settings of the run, stored as the config of the W&B run.
        mode: "offline", "online" or "disabled", which writes nothing.
        project: W&B project.
        entity: W&B user or team; None for the default of the account.
        artifacts: Log a table of the test images and the best checkpoint. W&B stores them as artifacts, for which it
            records the local path of its staging folder.

    Raises:
        UserError: If `mode` is invalid; from `loggers`, if W&B cannot be reached in mode "online".
    """

    def __init__(
        self,
        folder: Path,
        run_info: Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
        mode: str = "offline",
        project: str = "mammoseg",
        entity: str | None = None,
        artifacts: bool = False,
    ) -> None:
        self.folder = folder
        self.run_info = dict(run_info)
        self.mode = validate.one_of("logger.mode (or WANDB_MODE)", mode, MODES)
        self.project = project
        self.entity = entity
        self.artifacts = artifacts
        self.settings = dict(settings or {})
        self.logger: WandbLogger | None = None

    @override
    def loggers(self) -> list[Logger]:
        """See `RunLogger.loggers`; starts the W&B run, except in mode "disabled"."""
        if self.mode == "disabled":
            return []
        if self.logger is None:
            self.logger = self._start()
        return [self.logger]

    def _start(self) -> WandbLogger:
        import wandb
        from lightning.pytorch.loggers import WandbLogger

        # wandb gives the environment variable precedence over the argument.
        os.environ["WANDB_MODE"] = self.mode
        info = self.run_info
        names = [str(info[name]) for name in ("dataset", "model", "loss")]
        experiment = [str(info["experiment"]), str(info["dataset"])]
        try:
            run = wandb.init(
                dir=str(self.folder),
                project=self.project,
                entity=self.entity,
                mode=self.mode,  # type: ignore[arg-type]
                name=info["run"],
                group="-".join(experiment if info["experiment"] else names),
                job_type="train",
                tags=sorted({*names, str(info["method"])}),
                config={**self.settings, **flat_config(info, self.settings)},
                settings=private_settings(),
                reinit="finish_previous",
            )
        except (wandb.errors.UsageError, wandb.errors.CommError) as error:
            raise UserError(
                f"logger.mode={self.mode}: W&B reports {error}; log in with `wandb login`, or use logger.mode=offline "
                "and upload the run later with `wandb sync`"
            ) from error
        return WandbLogger(experiment=run, save_dir=str(self.folder))

    @override
    def log_examples(self, examples: Sequence[Example]) -> None:
        """Log one image per example, with ground truth and prediction as masks."""
        if self.logger is None:
            return
        import wandb

        class_labels = {0: "background", 1: "mass"}
        images = [
            wandb.Image(
                np.uint8(255 * (example.image - example.image.min()) / max(np.ptp(example.image), 1e-6)),
                caption=f"ACR {example.row['density']}, {example.row['case']}, {example.outcome}",
                masks={
                    "truth": {"mask_data": example.mask, "class_labels": class_labels},
                    "prediction": {
                        "mask_data": np.uint8(example.prob > example.threshold),
                        "class_labels": class_labels,
                    },
                },
            )
            for example in examples
        ]
        self.logger.experiment.log({"test/overlays": images})

    @override
    def log_results(self, rows: Sequence[ResultRow]) -> None:
        """With `artifacts`, log a table with the metrics of each test image, without patients, and the checkpoint."""
        if self.logger is None or not self.artifacts:
            return
        import wandb

        data = [[row[name] for name in TABLE_COLUMNS] + [row[key] for key in PIXEL_METRICS] for row in rows]
        table = wandb.Table(columns=[*TABLE_COLUMNS, *PIXEL_METRICS], data=data)
        self.logger.experiment.log({"test/images": table})
        checkpoint = RunFolder(self.folder).best_checkpoint
        if checkpoint.is_file():
            artifact = wandb.Artifact(str(self.run_info["run"]), type="model")
            artifact.add_file(str(checkpoint), name=checkpoint.name)
            self.logger.experiment.log_artifact(artifact)

    @override
    def close(self) -> None:
        """Finish the W&B run, and remove its debug logs, which contain local paths."""
        if self.logger is not None:
            files_folder = Path(self.logger.experiment.dir)
            self.logger.experiment.finish()
            self.logger = None
            shutil.rmtree(files_folder.parent / "logs", ignore_errors=True)


def flat_config(run_info: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a W&B config in which the settings for grouping runs are top-level keys, since W&B cannot group by lists.

    Args:
        run_info: Identity of the run.
        settings: Nested public settings of the run.
    """
    loss = settings.get("loss", {})
    theta = loss.get("theta") or []
    return {
        "run_info": dict(run_info),
        **{name: run_info[name] for name in ("method", "experiment", "fold")},
        **{f"theta_acr{category}": weight for category, weight in enumerate(theta, start=1)},
        **({"alpha": loss["alpha"]} if "alpha" in loss else {}),
    }


def private_settings() -> Any:
    """Return wandb.Settings that record no host, user, paths, command line, git state, code, packages or output."""
    import wandb

    return wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        host="",
        program="mammoseg",
        save_code=False,
        silent=True,
        symlink=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
