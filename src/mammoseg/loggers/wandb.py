"""What reaches Weights & Biases, and what must not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mammoseg import validate
from mammoseg.errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch.loggers import WandbLogger

    from mammoseg.reports.run_figures import Example

MODES = ("offline", "online", "disabled")


class WandbReport:
    """One W&B run for one training run, in `folder`/wandb.

    `mode`: offline unless the user says online, here or in WANDB_MODE; disabled writes nothing.
    `about`: run, dataset, model, loss, fold, seed; the run's name, group and tags follow from it.
    Of the user's machine nothing is recorded: no paths, host name, command line, code or console.
    Raises UserError for an unknown mode, and where W&B cannot be reached online.
    """

    def __init__(
        self,
        folder: Path,
        about: Mapping[str, Any],
        mode: str = "offline",
        project: str = "mammoseg",
        entity: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.about = dict(about)
        self.mode = validate.one_of("logger.mode (or WANDB_MODE)", mode, MODES)
        self.project = project
        self.entity = entity
        self.settings = dict(settings or {})
        self.logger: WandbLogger | None = None

    def loggers(self) -> list[WandbLogger]:
        """The Lightning logger, made at the first call; none when disabled."""
        if self.mode == "disabled":
            return []
        if self.logger is None:
            self.logger = self.start()
        return [self.logger]

    def start(self) -> WandbLogger:
        import wandb
        from lightning.pytorch.loggers import WandbLogger

        # The environment wins over the argument inside wandb, so both must say the same.
        os.environ["WANDB_MODE"] = self.mode
        about = self.about
        kinds = [str(about[name]) for name in ("dataset", "model", "loss")]
        experiment = [str(about["experiment"]), str(about["dataset"])]
        try:
            run = wandb.init(
                dir=str(self.folder),
                project=self.project,
                entity=self.entity,
                mode=self.mode,  # type: ignore[arg-type]
                name=about["run"],
                group="-".join(experiment if about["experiment"] else kinds),
                job_type="train",
                tags=sorted({*kinds, str(about["method"])}),
                config={**self.settings, **comparable(about, self.settings)},
                settings=private_settings(),
                reinit="finish_previous",
            )
        except (wandb.errors.UsageError, wandb.errors.CommError) as error:
            raise UserError(
                f"logger.mode={self.mode}: W&B refuses ({error}); log in with `wandb login`, or stay offline "
                "with logger.mode=offline and send the run later with `wandb sync`"
            ) from error
        return WandbLogger(experiment=run, save_dir=str(self.folder))

    def images(self, shown: Sequence[Example]) -> None:
        """One image per example, with truth and prediction as mask layers."""
        if self.logger is None:
            return
        import wandb

        names = {0: "background", 1: "mass"}
        pictures = [
            wandb.Image(
                np.uint8(255 * (item.image - item.image.min()) / max(np.ptp(item.image), 1e-6)),
                caption=f"ACR {item.row['density']}, {item.row['case']}, DSC {item.row['dsc']:.3f}",
                masks={
                    "truth": {"mask_data": item.mask, "class_labels": names},
                    "prediction": {
                        "mask_data": np.uint8(item.prob > item.threshold),
                        "class_labels": names,
                    },
                },
            )
            for item in shown
        ]
        self.logger.experiment.log({"test/overlays": pictures})

    def finish(self) -> None:
        if self.logger is not None:
            files = Path(self.logger.experiment.dir)
            self.logger.experiment.finish()
            self.logger = None
            # wandb's own debugging notes name folders of this machine, and are of no use after a good end.
            shutil.rmtree(files.parent / "logs", ignore_errors=True)


def comparable(about: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What W&B's tables and plots group and compare by, where they take no nested keys and no lists."""
    loss = settings.get("loss", {})
    theta = loss.get("theta") or []
    return {
        "about": dict(about),
        **{name: about[name] for name in ("method", "experiment", "fold")},
        **{f"theta_acr{category}": weight for category, weight in enumerate(theta, start=1)},
        **({"alpha": loss["alpha"]} if "alpha" in loss else {}),
    }


def private_settings() -> Any:
    """Nothing about the machine: host, user, paths, command line, git, code, packages, console."""
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
