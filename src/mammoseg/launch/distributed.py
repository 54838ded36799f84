"""One run on several devices: a process for each, its rank, all started by the engine of torchrun.

Lightning would start the other processes by calling the command again, which inside a Hydra multirun begins the whole
sweep anew, in other folders or, under a search, with other parameters. Here each job starts all its ranks itself, as a
plain single run with the job's own settings and folder.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hydra.conf import HydraConf
from omegaconf import DictConfig

from mammoseg.errors import UserError
from mammoseg.launch.signals import SIGNALS, Stopped, hand_on
from mammoseg.processes import die_with_parent

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments import ClusterEnvironment

log = logging.getLogger(__name__)

LAUNCHER = "MAMMOSEG_LAUNCHER"  # the number of the process that started the ranks
MISTAKE = "UserError: "  # how a rank begins what it says of the user's mistakes


def launched() -> bool:
    """Whether this process is a rank that `launch` started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """The number of this process in its run: 0 for the only one, and for the one that writes."""
    if launched():
        return int(os.environ["RANK"])
    return int(os.environ["SLURM_PROCID"]) if together() else 0


def together() -> bool:
    """Whether other processes work on this run beside this one, be it `launch` or Slurm that started them."""
    return launched() or int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1


def environment() -> ClusterEnvironment:
    """Where Lightning shall look for the ranks. Left to itself it takes any shell inside a Slurm job for one."""
    from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment

    if launched():
        return TorchElasticEnvironment()
    return SLURMEnvironment(auto_requeue=False) if together() else LightningEnvironment()


def processes(trainer: DictConfig) -> int:
    """How many processes the trainer's settings ask for."""
    devices = trainer.devices
    if isinstance(devices, str) and devices.lstrip("-").isdigit():
        devices = int(devices)
    elif isinstance(devices, str) and "," in devices:
        devices = devices.split(",")
    if devices in ("auto", -1):
        import torch

        return 1 if trainer.accelerator == "cpu" else max(torch.cuda.device_count(), 1)
    return devices if isinstance(devices, int) else len(devices)


def launch(count: int, hydra: HydraConf, folder: Path) -> None:
    """Run this job's settings in `folder` with `count` ranks on this machine; returns when all have ended well.

    Raises UserError for a rank's, RuntimeError for a rank that failed, Stopped where a signal ended them.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what happened is told below
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // count, 1)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=f"mammoseg-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        signals_to_handle="SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2",
    )
    log.info("%d processes, one for each device", count)
    os.environ[LAUNCHER] = str(os.getpid())
    theirs = {number: signal.getsignal(number) for number in SIGNALS}  # which torch's engine replaces for good
    try:
        elastic_launch(config, sys.executable)("-m", "mammoseg.train", *arguments(hydra, folder))
    except SignalException as stop:
        if stop.sigval == signal.SIGINT:
            raise KeyboardInterrupt from stop
        hand_on(stop.sigval, theirs.get(stop.sigval))
        raise Stopped(stop.sigval) from stop
    except ChildFailedError as failed:
        number, failure = failed.get_first_failure()
        said: Any = failure.message  # as the rank recorded it, or torch's words for one that could not
        if isinstance(said, dict):
            said = f"{said['message']}\n{said['extraInfo']['py_callstack']}"
        if said.startswith(MISTAKE):
            raise UserError(said.splitlines()[0].removeprefix(MISTAKE)) from None
        raise RuntimeError(f"process {number} of {count} failed: {said}") from None
    finally:
        for which, handler in theirs.items():
            signal.signal(which, handler)


def arguments(hydra: HydraConf, folder: Path) -> list[str]:
    """Of the command that runs this job alone. Options must stand before overrides."""
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    place = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    return [
        *("--config-name", str(hydra.job.config_name)),
        *(part for path in folders for part in ("--config-dir", path)),
        *hydra.overrides.task,
        *hydra.overrides.hydra,  # such as where a search keeps its study; the later ones below win
        *("hydra.mode=RUN", f'hydra.run.dir="{place}"', "hydra.output_subdir=null"),
    ]


def begin_rank() -> None:
    """What a rank does first: it dies with its launcher, and only rank 0 talks."""
    die_with_parent(signal.SIGKILL, int(os.environ[LAUNCHER]))  # else kill -9 of the launcher would leave ranks writing
    if rank() > 0:
        logging.disable(logging.WARNING)


def end_rank(error: Exception, mistake: str | None) -> NoReturn:
    """Hand `error` to the launcher, which tells it once."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    handler = get_error_handler()
    handler.initialize()
    handler.record_exception(error if mistake is None else UserError(mistake))
    sys.exit(1)
