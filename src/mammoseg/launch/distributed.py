"""Distributed runs: one process per device, started by the engine of torchrun.

Lightning starts the other processes by running the same command again. Inside a Hydra multirun that would restart the
sweep, in other folders or, under a search, with other parameters. Here each job starts its own workers, as single runs
with the job's settings and folder.
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
from mammoseg.launch.signals import SIGNALS, GracefulExit, forward_signal
from mammoseg.processes import die_with_parent
from mammoseg.runs.overrides import quote

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from torch.distributed.launcher.api import LaunchConfig

log = logging.getLogger(__name__)

LAUNCHER_PID = "MAMMOSEG_LAUNCHER_PID"  # environment variable: process id of the process that started the workers
USER_ERROR_PREFIX = "UserError: "  # marks the message of a worker's UserError


def is_worker() -> bool:
    """Whether this process was started by `launch_workers`."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """Global rank; 0 in single-process runs. Rank 0 writes all files."""
    if is_worker():
        return int(os.environ["RANK"])
    return int(os.environ["SLURM_PROCID"]) if is_distributed() else 0


def is_distributed() -> bool:
    """Whether this run uses several processes, started by `launch_workers` or by srun."""
    return is_worker() or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def cluster_environment() -> ClusterEnvironment:
    """Lightning's plugin for ranks and world size.

    Chosen explicitly, because Lightning mistakes any shell inside a Slurm allocation for a task of srun.
    """
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if is_worker():
        return TorchElasticEnvironment()
    return SLURMEnvironment(auto_requeue=False) if is_distributed() else LightningEnvironment()


def requested_world_size(trainer: DictConfig) -> int:
    """Number of processes that the trainer's settings require."""
    devices = trainer.devices
    if isinstance(devices, str) and devices.lstrip("-").isdigit():
        devices = int(devices)
    elif isinstance(devices, str) and "," in devices:
        devices = devices.split(",")
    if devices in ("auto", -1):
        import torch

        return 1 if trainer.accelerator == "cpu" else max(torch.cuda.device_count(), 1)
    return devices if isinstance(devices, int) else len(devices)


def launch_workers(world_size: int, hydra: HydraConf, folder: Path) -> None:
    """Run this job with `world_size` processes on this machine, and return when all have succeeded.

    Args:
        world_size: Number of processes.
        hydra: Hydra's configuration of this job.
        folder: The run folder.

    Raises:
        UserError: If a worker raised one.
        RuntimeError: If a worker failed.
        GracefulExit: If a signal stopped them.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the errors raised below contain it
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // world_size, 1)))
    log.info("%d processes, one per device", world_size)
    os.environ[LAUNCHER_PID] = str(os.getpid())
    handlers = {signum: signal.getsignal(signum) for signum in SIGNALS}  # the engine does not restore them
    try:
        elastic_launch(launch_config(world_size), sys.executable)("-m", "mammoseg.train", *worker_argv(hydra, folder))
    except SignalException as stop:
        if stop.sigval == signal.SIGINT:
            raise KeyboardInterrupt from stop
        forward_signal(stop.sigval, handlers.get(stop.sigval))
        raise GracefulExit(stop.sigval) from stop
    except ChildFailedError as failed:
        raise worker_error(failed, world_size) from None
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def launch_config(world_size: int) -> LaunchConfig:
    """The configuration of torchrun's engine for one machine, without restarts."""
    from torch.distributed.launcher.api import LaunchConfig

    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=world_size,
        run_id=f"mammoseg-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        signals_to_handle="SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2",
    )


def worker_error(failed: Any, world_size: int) -> Exception:
    """The error of the first worker that failed, from torch's ChildFailedError."""
    failed_rank, failure = failed.get_first_failure()
    message: Any = failure.message  # recorded by `report_failure`, or torch's text for a worker that was killed
    if isinstance(message, dict):
        message = f"{message['message']}\n{message['extraInfo']['py_callstack']}"
    if message.startswith(USER_ERROR_PREFIX):
        return UserError(message.splitlines()[0].removeprefix(USER_ERROR_PREFIX))
    return RuntimeError(f"process {failed_rank} of {world_size} failed: {message}")


def worker_argv(hydra: HydraConf, folder: Path) -> list[str]:
    """The arguments of `train` that run this job as a single run. Options must precede overrides."""
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    return [
        *("--config-name", str(hydra.job.config_name)),
        *(part for path in folders for part in ("--config-dir", path)),
        *hydra.overrides.task,
        *hydra.overrides.hydra,  # such as the storage of a search; the overrides below take precedence
        *("hydra.mode=RUN", f"hydra.run.dir={quote(folder)}", "hydra.output_subdir=null"),
    ]


def init_worker() -> None:
    """Terminate this worker when its launcher dies, even from kill -9, and silence the log of ranks above 0."""
    die_with_parent(signal.SIGKILL, int(os.environ[LAUNCHER_PID]))
    if rank() > 0:
        logging.disable(logging.WARNING)


def report_failure(error: Exception, user_message: str | None) -> NoReturn:
    """Pass `error` to the launcher, which reports it once, and exit."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    handler = get_error_handler()
    handler.initialize()
    handler.record_exception(error if user_message is None else UserError(user_message))
    sys.exit(1)
