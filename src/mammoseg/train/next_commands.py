"""Commands that are printed for copying: to resume a run, and to use the results of a finished one."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig

from mammoseg.launch.loky import SWEEP_PID
from mammoseg.program import print_next_steps, shell_command, shortest_path
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import read_record_or_skip
from mammoseg.runs.untrusted_config import GROUPS, command_line_dirs, untrusted_targets
from mammoseg.schema.overrides import key_of, path_value

# Whether and for whom to upload to W&B; not taken from the run folder, which may be from somebody else.
UPLOAD_SETTINGS = ("logger.mode", "logger.entity")


def resume_command(run: RunFolder) -> str:
    """Return the command that resumes a run from the current working directory.

    It contains the options that are not taken from the run folder: --config-dir, and trust in the user's own classes.
    """
    options, trust = _options_and_trust(run)
    uploads = [override for override in HydraConfig.get().overrides.task if key_of(override) in UPLOAD_SETTINGS]
    return shell_command("train", *options, f"resume={shortest_path(run.path)}", *trust, *uploads)


def commands_after_training(run: RunFolder) -> list[str]:
    """Return the commands that show, evaluate and use the results of a finished run.

    Args:
        run: Run folder.
    """
    options, trust = _options_and_trust(run)
    path = path_value(shortest_path(run.path))
    return [
        shell_command("view", f"runs={path}"),
        shell_command("evaluate", *options, f"ckpt_path={path}", "native=true", *trust),
        shell_command("predict", *options, f"ckpt_path={path}", "input=DIR", "output=predictions", *trust),
    ]


def print_commands_after_training(run: RunFolder) -> None:
    """Print the commands of `commands_after_training`, except in the jobs of a sweep."""
    if SWEEP_PID not in os.environ:
        print_next_steps(commands_after_training(run))


def _options_and_trust(run: RunFolder) -> tuple[Sequence[str], Sequence[str]]:
    """Return the options --config-dir, and the setting trusted_modules if the run has classes of the user."""
    dirs = command_line_dirs(HydraConfig.get())
    record = read_record_or_skip(run)
    targets = untrusted_targets({} if record is None else record.settings, GROUPS, config_dirs=dirs)
    options = [part for folder in dirs for part in ("--config-dir", str(folder))]
    return options, [f"trusted_modules=[{','.join(targets)}]"] if targets else []
