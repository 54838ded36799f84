"""Distributed runs: one process per device, started by the elastic launcher of torchrun.

Lightning starts the other processes by rerunning the command. In a Hydra multirun this would restart the sweep with
other folders or, in a search, with other parameters. Instead, each job starts its workers as single runs with the
settings and the folder of the job.
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
from mammoseg.schema.overrides import quote

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from torch.distributed.launcher.api import LaunchConfig

log = logging.getLogger(__name__)

LAUNCHER_PID = "MAMMOSEG_LAUNCHER_PID"  # environment variable with the process id of the launcher of the workers
USER_ERROR_PREFIX = "UserError: "  # start of the message if a worker raised UserError


def is_worker() -> bool:
    """Return True if this process was started by `launch_workers`."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """Return the global rank; 0 in single-process runs. Rank 0 writes all files."""
    if is_worker():
        return int(os.environ["RANK"])
    return int(os.environ["SLURM_PROCID"]) if is_distributed() else 0


def is_distributed() -> bool:
    """Return True if the run has several processes, started by `launch_workers` or by srun."""
    return is_worker() or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def cluster_environment() -> ClusterEnvironment:
    """Return Lightning's plugin that determines ranks and world size.

    Lightning's automatic detection would treat any shell in a Slurm allocation as a task of srun.
    """
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if is_worker():
        return TorchElasticEnvironment()
    return SLURMEnvironment(auto_requeue=False) if is_distributed() else LightningEnvironment()


def requested_world_size(trainer: DictConfig) -> int:
    """Return the number of processes that the settings of the trainer require.

    Args:
        trainer: The section `trainer` of the config.

    Example:
        >>> requested_world_size(DictConfig({"accelerator": "cpu", "devices": 2}))
        2
    """
    devices = trainer.devices
    if isinstance(devices, str) and devices.lstrip("-").isdigit():
        devices = int(devices)
    elif isinstance(devices, str) and "," in devices:
        devices = devices.split(",")
    if devices in ("auto", -1):
        import torch

        return 1 if trainer.accelerator == "cpu" else max(torch.cuda.device_count(), 1)
    return devices if isinstance(devices, int) else len(devices)


def check_nodes(trainer: DictConfig) -> None:
    """Check that a run on several nodes was started by srun; a single process would wait for the others indefinitely.

    Args:
        trainer: The section `trainer` of the config.

    Raises:
        UserError: If it was not.
    """
    nodes = trainer.get("num_nodes", 1)
    if nodes > 1 and not is_distributed():
        raise UserError(
            f"trainer.num_nodes must be 1 unless srun starts one process per device on each node, got {nodes}"
        )


def launch_workers(world_size: int, hydra: HydraConf, folder: Path) -> None:
    """Run this job with several processes on this machine, and wait until all have succeeded.

    Args:
        world_size: Number of processes.
        hydra: Hydra's own settings of the job.
        folder: Run folder.

    Raises:
        UserError: If a worker raised UserError.
        RuntimeError: If a worker failed otherwise.
        GracefulExit: If a signal stopped the workers.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # errors are raised below
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // world_size, 1)))
    log.info("starting %d processes, one per device", world_size)
    os.environ[LAUNCHER_PID] = str(os.getpid())
    handlers = {signum: signal.getsignal(signum) for signum in SIGNALS}  # elastic_launch does not restore them
    try:
        elastic_launch(launch_config(world_size), sys.executable)("-m", "mammoseg.train", *worker_argv(hydra, folder))
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from error
        forward_signal(error.sigval, handlers.get(error.sigval))
        raise GracefulExit(error.sigval) from error
    except ChildFailedError as error:
        raise worker_error(error, world_size) from None
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def launch_config(world_size: int) -> LaunchConfig:
    """Return the configuration of the elastic launcher for one machine, without restarts."""
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


def worker_error(error: Any, world_size: int) -> Exception:
    """Return the exception of the first worker that failed.

    Args:
        error: torch's ChildFailedError.
        world_size: Number of workers.

    Returns:
        UserError if the worker raised UserError, otherwise RuntimeError with the traceback of the worker.
    """
    failed_rank, failure = error.get_first_failure()
    message: Any = failure.message  # from `report_failure`, or from torch if the worker was killed
    if isinstance(message, dict):
        message = f"{message['message']}\n{message['extraInfo']['py_callstack']}"
    if message.startswith(USER_ERROR_PREFIX):
        return UserError(message.splitlines()[0].removeprefix(USER_ERROR_PREFIX))
    return RuntimeError(f"process {failed_rank} of {world_size} failed: {message}")


def worker_argv(hydra: HydraConf, folder: Path) -> list[str]:
    """Return the arguments of `train` that run a job as a single run.

    Args:
        hydra: Hydra's own settings of the job.
        folder: Run folder.

    Returns:
        Hydra's options, which must come first, followed by overrides.
    """
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    return [
        *("--config-name", str(hydra.job.config_name)),
        *(part for path in folders for part in ("--config-dir", path)),
        *hydra.overrides.task,
        *hydra.overrides.hydra,  # such as the storage of a search; later overrides take precedence
        *("hydra.mode=RUN", f"hydra.run.dir={quote(folder)}", "hydra.output_subdir=null"),
    ]


def init_worker() -> None:
    """Initialise a worker: terminate it when the launcher dies, and disable logging on ranks above 0."""
    die_with_parent(signal.SIGKILL, int(os.environ[LAUNCHER_PID]))
    if rank() > 0:
        logging.disable(logging.WARNING)


def report_failure(error: Exception, user_message: str | None) -> NoReturn:
    """Send the exception of a worker to the launcher, which raises it, and exit with status 1.

    Args:
        error: The exception.
        user_message: Message of a user error; None for other exceptions.
    """
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    handler = get_error_handler()
    handler.initialize()
    handler.record_exception(error if user_message is None else UserError(user_message))
    sys.exit(1)
