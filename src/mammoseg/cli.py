"""The way into every command: finds `conf/`, wraps Hydra, and turns a user's mistake into one sentence.

Imports no torch, so that `--help` answers at once.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig
from omegaconf.errors import OmegaConfBaseException

from mammoseg.errors import UserError
from mammoseg.launch import distributed, sweep

ANOTHER = "or choose another folder (hydra.run.dir, dataset.store, output)"
DISK = {
    errno.ENOSPC: f"free some space, {ANOTHER}",
    errno.EDQUOT: f"free some space, {ANOTHER}",
    errno.EFBIG: f"raise the limit on the size of files, {ANOTHER}",
    errno.ENOTDIR: "choose a folder (hydra.run.dir, dataset.store, output)",
    errno.EEXIST: "choose a folder (hydra.run.dir, dataset.store, output)",
    errno.EISDIR: f"a folder stands where a file goes; move it, {ANOTHER}",
    errno.ENAMETOOLONG: "shorten its name",
    errno.EACCES: f"check the permissions, {ANOTHER}",
    errno.EPERM: f"check the permissions, {ANOTHER}",
    errno.EROFS: f"make it writable, {ANOTHER}",
}


def conf_dir() -> Path:
    """`conf/`, inside the package when installed from a wheel, else at the top of the checkout."""
    here = Path(__file__).resolve().parent
    for candidate in (here / "conf", here.parents[1] / "conf"):
        if (candidate / "train.yaml").is_file():
            return candidate
    raise FileNotFoundError(f"conf/ is neither in {here} nor two folders above it; reinstall mammoseg")


def command(
    name: str,
    *,
    renamed: Mapping[str, str] | None = None,
    prepare_argv: Callable[[list[str]], list[str]] = list,
) -> Callable[[Callable[[Any], Any]], Callable[[], None]]:
    """Make `main(cfg)` a command with the config `conf/<name>.yaml`.

    The exit status is 0 on success and 2 for a user's error, which is printed as one sentence; a bug keeps its
    traceback. A sweep runs all its jobs even if some fail, prints a table of them, and exits with 1 if any failed.

    Args:
        name: Name of the command.
        renamed: Settings of earlier versions and their names in this one, for the error message.
        prepare_argv: Called with the arguments before Hydra parses them; returns those that it shall parse.
    """

    def wrap(main: Callable[[Any], Any]) -> Callable[[], None]:
        @functools.wraps(main)
        def job(cfg: Any) -> Any:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                return sweep.run_job(main, cfg, mistake)
            if distributed.is_worker():
                distributed.init_worker()
            try:
                return main(cfg)
            except Exception as error:
                if distributed.is_worker():
                    distributed.report_failure(error, mistake(error))
                end(name, error)
                raise

        @functools.wraps(main)
        def run() -> None:
            # Hydra would swallow the exception and exit with 1 before it reaches us.
            os.environ["HYDRA_FULL_ERROR"] = "1"
            try:
                check_renamed(sys.argv[1:], renamed or {})
                sys.argv[1:] = prepare_argv(sys.argv[1:])
                hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(job)()
            except KeyboardInterrupt as stop:
                if distributed.is_worker():
                    sys.exit(130)  # the launcher has been told as well
                print(f"mammoseg {name}: stopped by you; what was finished is kept{stop}", file=sys.stderr)
                sys.exit(130)
            except BrokenPipeError:
                # `--help | head` reads no further; nothing is wrong, and the interpreter must not complain at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            except Exception as error:
                end(name, error)
                sweep.summarise_aborted_sweep(error)
                raise

        return run

    return wrap


def check_renamed(argv: Sequence[str], renamed: Mapping[str, str]) -> None:
    """Raise UserError for a setting that an earlier version had under another name."""
    for arg in argv:
        key, equals, _ = arg.lstrip("+~").partition("=")
        if equals and key in renamed:
            raise UserError(f"{key} is now called {renamed[key]}; write {renamed[key]}=... instead")


def parse_path(value: Any, name: str) -> Path:
    """The file or folder that the setting `name` names; a folder may be called 2024."""
    if value is None or isinstance(value, ListConfig | DictConfig):
        raise UserError(f"{name}={value}, but it takes one path")
    return Path(str(value)).expanduser()


def parse_bool(value: Any, name: str) -> bool:
    """Hydra takes `no` and `off` for words, which Python would take for true."""
    if not isinstance(value, bool):
        raise UserError(f"{name}={value}, but the choices are true and false")
    return value


def end(name: str, error: Exception) -> None:
    """Exit with status 2 and one sentence if `error` is the user's mistake; otherwise do nothing."""
    sentence = mistake(error)
    if sentence is not None:
        print(f"mammoseg {name}: {sentence}", file=sys.stderr)
        sys.exit(2)


def mistake(error: BaseException) -> str | None:
    """What to tell the user, or None if `error` is a bug of ours."""
    for cause in causes(error):
        if isinstance(cause, UserError):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in DISK:
            where = f"{cause.filename}: " if cause.filename else ""
            return f"{where}{cause.strerror}; {DISK[cause.errno]}; what was finished is kept"
    if isinstance(error, HydraException | OmegaConfBaseException) and not isinstance(error, InstantiationException):
        return str(error)
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and what it was raised from: `hydra.utils.instantiate` wraps what a constructor raises."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
