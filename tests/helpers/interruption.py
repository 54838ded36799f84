"""A callback that sends a signal to its own process at a fixed step, so that tests do not depend on timing."""

from __future__ import annotations

import os
import signal
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

# Part of the settings of all runs that are compared; without the environment variable it does nothing.
SETTING = "+callbacks.interruption={_target_: helpers.interruption.Interruption}"
VARIABLE = "INTERRUPTION"  # environment variable: hook, step and signal


def interrupt(hook: str, step: int, signum: signal.Signals) -> dict[str, str]:
    """Environment that makes a run with `SETTING` send itself a signal.

    Args:
        hook: "on_train_batch_start", "on_validation_start", "on_save_checkpoint", "on_test_batch_start" or
            "on_test_end".
        step: Number of optimizer steps before the signal.
        signum: The signal.
    """
    return {VARIABLE: f"{hook}:{step}:{int(signum)}"}


class Interruption(Callback):
    """Sends the signal that the environment variable describes."""

    def _send(self, hook: str, trainer: lightning.Trainer) -> None:
        expected_hook, _, position = os.environ.get(VARIABLE, "").partition(":")
        if hook == expected_hook:
            step, signum = map(int, position.split(":"))
            if trainer.global_step == step:
                os.kill(os.getpid(), signum)

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        self._send("on_train_batch_start", trainer)

    def on_validation_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        self._send("on_validation_start", trainer)

    def on_save_checkpoint(self, trainer: lightning.Trainer, *_: Any) -> None:
        self._send("on_save_checkpoint", trainer)

    def on_test_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        self._send("on_test_batch_start", trainer)

    def on_test_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self._send("on_test_end", trainer)
