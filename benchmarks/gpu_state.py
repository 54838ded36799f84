"""State of the GPU benchmarks, which are performed in several slices: status and duration of each step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from mammoseg.files import atomic_write_text


class StepStatus(StrEnum):
    """Status of a step."""

    PENDING = "pending"
    RUNNING = "running"  # also after the machine was stopped
    STOPPED = "stopped"  # at the time limit, to be continued or repeated in the next slice
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class StepState:
    """Status of one step.

    Attributes:
        status: Status.
        seconds: Duration of all attempts.
        stops: Number of times that it was stopped.
        remark: Key figure, reason of a failure, or why it was not started.
    """

    status: StepStatus = StepStatus.PENDING
    seconds: float = 0.0
    stops: int = 0
    remark: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the step is not run again."""
        return self.status in (StepStatus.DONE, StepStatus.FAILED)


@dataclass
class State:
    """State of all steps, stored in a JSON file after every change.

    Attributes:
        path: File of the state.
        steps: Status by name of the step.
        slices: Duration of each slice in seconds; of the current one, its limit.
        plan: Settings of the training runs, see `gpu_training.TrainingPlan`; empty before they are determined.
        environment: Device and library versions.
    """

    path: Path
    steps: dict[str, StepState] = field(default_factory=dict)
    slices: list[float] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> State:
        """Read the file; without one, no step has been run."""
        if not path.is_file():
            return cls(path)
        stored = json.loads(path.read_text(encoding="utf-8"))
        steps = {
            name: StepState(**{**values, "status": StepStatus(values["status"])})
            for name, values in stored.pop("steps").items()
        }
        return cls(path, steps, **stored)

    def write(self) -> None:
        """Write the file."""
        content = {name: value for name, value in asdict(self).items() if name != "path"}
        atomic_write_text(self.path, json.dumps(content, indent=1))

    def update(self, name: str, **changes: Any) -> None:
        """Change the status of a step and write the file."""
        self.steps[name] = replace(self[name], **changes)
        self.write()

    def __getitem__(self, name: str) -> StepState:
        return self.steps.get(name, StepState())

    def prepare_repeat(self, names: Sequence[str], dependants: Mapping[str, Sequence[str]]) -> None:
        """Run steps again, and with them the steps that depend on them."""
        for name in names:
            self.steps[name] = StepState()
            for other, required in dependants.items():
                if name in required and self[other].is_final:
                    self.prepare_repeat([other], dependants)
        self.write()
