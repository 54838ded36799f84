"""Entry point of every command: wraps Hydra, and prints user errors as one sentence.

This module does not import torch, so that `--help` is fast.
"""

from __future__ import annotations

import functools
import io
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig
from omegaconf.errors import OmegaConfBaseException

import mammoseg
from mammoseg.conf import conf_dir
from mammoseg.errors import UserError, exit_with_message
from mammoseg.launch import distributed, sweep
from mammoseg.launch.new_folder import remove_failed_start
from mammoseg.program import store_program
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.log_file import redact_log_files
from mammoseg.schema.check import check_config
from mammoseg.schema.command_line import check_overrides, config_dirs, explain, split_options
from mammoseg.schema.help_text import register_resolvers
from mammoseg.schema.hydra_settings import check_hydra_overrides, check_options, expand_home
from mammoseg.schema.renamed import (
    RENAMED_CHOICES,
    RENAMED_SETTINGS,
    check_renamed,
    check_renamed_config,
    check_theta_overrides,
)
from mammoseg.system_errors import system_error_message
from mammoseg.terminal import configure_console_logging


def command(
    name: str,
    *,
    prepare_argv: Callable[[list[str]], list[str]] = list,
) -> Callable[[Callable[[Any], Any]], Callable[[], None]]:
    """Return a decorator that turns `main(cfg)` into the entry point of a command with the config `conf/<name>.yaml`.

    The exit status is 0 on success, 2 for a user error, which is printed as one sentence, and 130 for Ctrl-C. Other
    exceptions keep their traceback. A sweep runs all its jobs even if some fail, prints a summary table, and exits with
    status 1 if any job failed.

    Args:
        name: Name of the command.
        prepare_argv: Converts the command-line arguments before Hydra parses them.
    """

    def decorator(main: Callable[[Any], Any]) -> Callable[[], None]:
        @functools.wraps(main)
        def task(cfg: Any) -> Any:
            return run_task(name, checked_main, cfg)

        def checked_main(cfg: Any) -> Any:
            check_renamed_config(cfg, RENAMED_SETTINGS.get(name, {}))
            check_config(name, cfg)
            return main(cfg)

        @functools.wraps(main)
        def entry_point() -> None:
            initialise(name)
            with exit_on_error(name):
                check_user_argv(name, sys.argv[1:])
                sys.argv[1:] = checked_argv(prepare_argv(sys.argv[1:]))
                hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(task)()

        return entry_point

    return decorator


def initialise(name: str) -> None:
    """Prepare the process for a command: environment variables, the name in usage messages, and resolvers.

    Args:
        name: Name of the command.
    """
    # Otherwise Hydra catches exceptions and exits with status 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    if not distributed.is_worker():  # which was started by the launcher, not by the user
        store_program()
    sys.argv[0] = f"mammoseg {name}"
    register_resolvers()


def replace_unprintable_characters() -> None:
    """Print "?" for characters that the encoding of the terminal lacks, such as "–", instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def check_user_argv(name: str, argv: Sequence[str]) -> None:
    """Check the platform, the working directory, and the arguments before mammoseg adds others.

    Args:
        name: Name of the command.
        argv: Command-line arguments.

    Raises:
        UserError: On Windows, or if the working directory was removed, or an argument has an old name or sets a fixed
            setting.
    """
    if platform.system() == "Windows":
        raise UserError("the commands require Linux or macOS, got Windows; use the Windows Subsystem for Linux (WSL)")
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UserError("the working directory no longer exists; change to another folder") from error
    if not distributed.is_worker():  # its arguments are from `launch_workers`
        check_hydra_overrides(argv)
    check_renamed(argv, RENAMED_SETTINGS.get(name, {}))


def checked_argv(argv: Sequence[str]) -> list[str]:
    """Check the grammar and the choices of the overrides, and move options before them, as Hydra requires.

    Raises:
        UserError: If an override is invalid.
    """
    options, overrides = split_options(argv)
    if "--version" in options:
        print(f"mammoseg {mammoseg.__version__}")
        sys.exit()
    check_options(options)
    overrides = [expand_home(override) for override in overrides]
    check_overrides(overrides, [conf_dir(), *config_dirs(options)])
    check_theta_overrides(overrides)
    return [*options, *overrides]


def run_task(name: str, main: Callable[[Any], Any], cfg: Any) -> Any:
    """Call `main(cfg)` as a job of a sweep, a worker of a distributed run, or a single run.

    Args:
        name: Name of the command.
        main: Function of the command.
        cfg: Composed config.

    Returns:
        The return value of `main`.
    """
    hydra_config = HydraConfig.get()
    folder = RunFolder(Path(hydra_config.runtime.output_dir))
    redact_log_files(folder.path, cfg)
    configure_console_logging()
    if hydra_config.mode == RunMode.MULTIRUN:
        return sweep.run_job(main, cfg, functools.partial(user_message, command=name))
    if distributed.is_worker():
        distributed.init_worker()
    try:
        return main(cfg)
    except KeyboardInterrupt:
        if not folder.record.exists():  # there is nothing to resume
            remove_failed_start()
        raise
    except Exception as error:
        message = user_message(error, name)
        if distributed.is_worker():
            distributed.report_failure(error, message)
        if message is not None:
            remove_failed_start()
            exit_with_message(name, message)
        raise


@contextmanager
def exit_on_error(name: str) -> Iterator[None]:
    """Convert exceptions in the block to exit statuses.

    Args:
        name: Name of the command, for messages.
    """
    replace_unprintable_characters()
    try:
        yield
    except KeyboardInterrupt as interrupt:
        exit_interrupted(name, str(interrupt))
    except SystemExit as error:
        if error.code == 1 and isinstance(error.__context__, KeyboardInterrupt):  # Lightning converts Ctrl-C
            exit_interrupted(name)
        raise
    except BrokenPipeError:
        # `--help | head` closes the pipe; avoid an error when the interpreter flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        exit_if_user_error(name, error)
        sweep.summarise_aborted_sweep(error)
        raise


def exit_interrupted(name: str, how_to_resume: str = "") -> NoReturn:
    """Print that Ctrl-C was pressed, and exit with status 130.

    Args:
        name: Name of the command.
        how_to_resume: End of the message.
    """
    if not distributed.is_worker():  # the launcher prints the message
        print(f"mammoseg {name}: interrupted; finished work is kept{how_to_resume}", file=sys.stderr)
    sys.exit(130)


def parse_path(value: Any, name: str) -> Path:
    """Convert the value of a setting to a path. Numbers are accepted, since a folder can be named 2024.

    Args:
        value: Value of the setting.
        name: Name of the setting.

    Raises:
        UserError: If the value is null, a list or a mapping.

    Example:
        >>> parse_path(2024, "dataset.root").name
        '2024'
    """
    if value is None or isinstance(value, ListConfig | DictConfig):
        raise UserError(f"{name} must be one path, got {value}")
    return Path(str(value)).expanduser()


def parse_paths(value: Any, name: str) -> list[Path]:
    """Convert the value of a setting, a path or a list of paths, to a list of paths; see `parse_path`."""
    return [parse_path(item, name) for item in (value if isinstance(value, ListConfig) else [value])]


def exit_if_user_error(name: str, error: Exception) -> None:
    """Print one sentence and exit with status 2 if `error` is a user error; otherwise return.

    Args:
        name: Name of the command, for the message.
        error: The exception.
    """
    message = user_message(error, name, sys.argv[1:])
    if message is not None:
        exit_with_message(name, message)


def user_message(error: BaseException, command: str = "train", argv: Sequence[str] = ()) -> str | None:
    """Return the message of a user error, or None for other exceptions, which indicate a bug.

    User errors are `UserError`, errors of the system such as a full disk or too little memory, and invalid settings
    that Hydra or OmegaConf report.

    Args:
        error: The exception.
        command: Name of the command, whose settings are suggested for misspelt ones.
        argv: Command-line arguments, for suggestions.
    """
    for cause in exception_chain(error):
        if isinstance(cause, UserError):
            # A worker of a DataLoader adds its traceback to the message.
            return str(cause).strip().rpartition("mammoseg.errors.UserError: ")[2]
        if (message := yaml_error_message(cause) or system_error_message(cause, command)) is not None:
            return message
    if isinstance(error, MissingConfigException) and error.missing_cfg_file in RENAMED_CHOICES:
        new = RENAMED_CHOICES[error.missing_cfg_file]
        return f"{error.missing_cfg_file} is now called {new}; rename it in the defaults list of your YAML file"
    if isinstance(error, HydraException | OmegaConfBaseException) and not isinstance(error, InstantiationException):
        return explain(error, command, conf_dir(), argv)
    return None


def yaml_error_message(error: BaseException) -> str | None:
    """Return the message for an invalid YAML file, such as a config of the user, or None for other exceptions."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return None
    mark = error.problem_mark
    return f"{mark.name}: not valid YAML, line {mark.line + 1}: {error.problem}; correct the file"


def exception_chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield `error` and its causes, since `hydra.utils.instantiate` wraps the exceptions of constructors."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
