"""The last and the best checkpoints of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint
from typing_extensions import override

BEST = "best"


class RunCheckpoint(ModelCheckpoint):
    """Writes last.ckpt or a best checkpoint.

    Its state has a key of its own in the checkpoint, so that users can add other ModelCheckpoint callbacks with any
    arguments.

    Args:
        path: Path of the checkpoint.
        **kwargs: Arguments of ModelCheckpoint, such as `monitor`.
    """

    def __init__(self, path: Path, **kwargs: Any) -> None:
        super().__init__(dirpath=path.parent, filename=path.stem, enable_version_counter=False, **kwargs)

    @property
    @override
    def state_key(self) -> str:
        """Key of the state in a checkpoint."""
        return state_key(str(self.filename))


def state_key(name: str) -> str:
    """Return the key of the state of the callback that writes `name`.ckpt.

    Example:
        >>> state_key("best")
        'RunCheckpoint(best)'
    """
    return f"RunCheckpoint({name})"


def upgrade_callback_states(states: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the states of checkpoints that were written by ModelCheckpoint, as before version 0.2.

    Args:
        states: State of each callback by key.

    Returns:
        A copy with current keys.
    """
    upgraded = dict(states)
    if state_key("last") not in upgraded:
        for key in [key for key in states if key.startswith("ModelCheckpoint{")]:
            monitored = isinstance(states[key], Mapping) and states[key].get("monitor") is not None
            upgraded.setdefault(state_key(BEST if monitored else "last"), upgraded.pop(key))
    return upgraded
