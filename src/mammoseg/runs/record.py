"""run.json: settings, library versions, status and score of a run.

The file contains no paths of the user's machine, so a run folder can be shared.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from types import NoneType
from typing import Any

from omegaconf import DictConfig, OmegaConf

import mammoseg
from mammoseg.errors import RunConflictError, UserError
from mammoseg.files import atomic_write_text
from mammoseg.program import started_as
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.settings import DIGESTED, differing, flatten, public
from mammoseg.runs.upgrade import upgrade_config

log = logging.getLogger(__name__)

MAX_DIGITS = 18  # of integers, which fit into 64 bits
FORMAT = 2  # not stored by version 0.1
PACKAGES = ("torch", "lightning", "torchmetrics", "hydra-core", "numpy", "pydicom")


class Status(StrEnum):
    """Status of a run."""

    RUNNING = "running"  # also after SIGKILL or a power failure, when the status cannot be updated
    STOPPED = "stopped"  # by Ctrl-C or a signal
    FAILED = "failed"
    PRUNED = "pruned"  # stopped by a search; not tested
    FINISHED = "finished"
    EVALUATED = "evaluated"  # output folder of mammoseg.evaluate


@dataclass(frozen=True)
class RunRecord:
    """Content of run.json.

    Attributes:
        run_info: Identity of the run as in results.csv: run, experiment, dataset, method, model, loss, fold, seed.
        settings: Public settings, see `runs.settings.public`.
        root: Hash of the path of the dataset, to compare it without storing it.
        versions: Versions of Python and of the packages on which results depend.
        status: Status of the run.
        started: Time of the first start, ISO 8601 in UTC.
        score: Validation DSC of the best checkpoint of a finished or pruned run.
        parameters: Number of parameters of the network.
        minutes: Duration; None for a run that was interrupted.
        pruned: Epoch after which a search stopped the run.
        error: First line of the error that ended the run.
        job: Number, overrides and seconds of the job of a sweep; None for a single run.
        trained: Whether training is complete.
        evaluation: Datasets, part, checkpoints and options of an evaluation that does not repeat the test of a run;
            None for a run, and for an evaluation that repeats its test.
        format: Version of the file format.
    """

    run_info: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    root: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    status: Status = Status.RUNNING
    started: str = ""
    score: float | None = None
    parameters: int | None = None
    minutes: float | None = None
    pruned: int | None = None
    error: str | None = None
    job: dict[str, Any] | None = None
    trained: bool = False
    evaluation: dict[str, Any] | None = None
    format: int = FORMAT

    @property
    def is_complete(self) -> bool:
        """Whether the run is finished or pruned."""
        return self.status in (Status.FINISHED, Status.PRUNED)


def make_record(
    cfg: DictConfig, run_info: Mapping[str, Any], digests: Mapping[str, str | None] | None = None
) -> RunRecord:
    """Create the record of a run that starts now.

    Args:
        cfg: Composed config of `train`.
        run_info: Identity of the run.
        digests: Hash of the file of each setting with initial weights, see `train.init_from.InitialWeights`; None if
            there are none.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    settings = {**public(plain), **(digests or {})}
    return RunRecord(
        run_info=dict(run_info),
        settings=upgrade_config(json.loads(json.dumps(settings))),  # as when read back: tuples become lists
        root=path_digest(Path(cfg.dataset.root)),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
            "mammoseg": mammoseg.__version__,  # also if it is not installed, but run from a checkout
        },
        started=datetime.now(UTC).isoformat(timespec="microseconds"),
    )


def redact_paths(text: str, folder: Path, cfg: DictConfig) -> str:
    """Replace paths of this machine in a text by names such as "dataset.root".

    Args:
        text: Text that may contain paths, such as an error message.
        folder: Run folder.
        cfg: Composed config with the paths.
    """
    keys = ("dataset.root", "dataset.store", "dataset.reader.tables", *DIGESTED, "resume")
    program = {word: Path(word).name for word in shlex.split(started_as())}  # the interpreter or the script
    paths = {**program, str(folder): folder.name, **{str(OmegaConf.select(cfg, key) or ""): key for key in keys}}
    for path, name in {**paths, str(Path.cwd()): ".", str(Path.home()): "~"}.items():
        if len(path) > 1 and Path(path).expanduser().is_absolute():
            text = text.replace(path, name)
    return text


def path_digest(path: Path) -> str:
    """Return a hash of the absolute path, 16 hexadecimal digits."""
    return hashlib.sha256(str(path.expanduser().resolve()).encode()).hexdigest()[:16]


def read_record(folder: RunFolder) -> RunRecord | None:
    """Read the record of a run.

    Args:
        folder: Run folder.

    Returns:
        The record, or None if the folder contains none.

    Raises:
        UserError: If the file is damaged.
    """
    path = folder.record
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"), parse_int=_parse_int)
        if not isinstance(stored, dict):
            raise TypeError(f"must be a mapping, got {type(stored).__name__}")
        known = {name: value for name, value in _upgrade(stored).items() if name in _FIELDS}
        record = RunRecord(**{**known, "status": Status(known["status"])})
        _check_types(record)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}); delete the file or the run folder, and repeat the run") from error
    return record


def read_record_or_skip(folder: RunFolder) -> RunRecord | None:
    """Read the record of a run as `read_record` does, but log a warning and return None if it is damaged."""
    try:
        return read_record(folder)
    except UserError as error:
        log.warning("skipped %s: %s", folder.path, error)
        return None


def _parse_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"integers must have at most {MAX_DIGITS} digits")
    return int(text)


def _check_types(record: RunRecord) -> None:
    """Check the types of all fields, since the file may have been edited or damaged.

    Raises:
        TypeError: If a field has a wrong type.
        ValueError: If the score is not finite.
    """
    for name, expected in _FIELDS.items():
        value = getattr(record, name)
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise TypeError(f"{name} has the wrong type {type(value).__name__}")
    if not all(type(value) in (str, int) for value in record.run_info.values()):
        raise TypeError("run_info must consist of text and integers")
    if record.score is not None and not math.isfinite(record.score):
        raise ValueError(f"score must be finite, got {record.score}")
    job = record.job
    if job is not None and not (
        type(job.get("number")) is int
        and isinstance(job.get("overrides"), list)
        and all(isinstance(override, str) for override in job["overrides"])
        and isinstance(job.get("seconds"), int | float)
    ):
        raise TypeError("job must have a number, overrides and seconds")


# Types of the fields.
_NUMBER = (int, float, NoneType)
_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("run_info", "settings", "versions"), dict),
    **{"root": (str, NoneType), "status": str, "started": str, "error": (str, NoneType), "job": (dict, NoneType)},
    "evaluation": (dict, NoneType),
    **{"score": _NUMBER, "minutes": _NUMBER, "parameters": (int, NoneType), "pruned": (int, NoneType)},
    **{"trained": bool, "format": int},
}


def _upgrade(stored: dict[str, Any]) -> dict[str, Any]:
    """Convert a record of an earlier version to the current format.

    Version 0.1 did not store a status, and `run_info` had a different name.
    """
    stored = {**stored, "settings": upgrade_config(stored.get("settings", {}))}
    if "format" not in stored and "status" not in stored:
        complete = Status.PRUNED if stored.get("pruned") else Status.FINISHED
        stored = {**stored, "status": complete if stored.get("score") is not None else Status.RUNNING}
    if "about" in stored:
        stored = {"run_info": stored["about"], **stored}
    return stored


def write_record(folder: RunFolder, record: RunRecord) -> None:
    """Write the record of a run atomically."""
    atomic_write_text(folder.record, json.dumps(asdict(record), indent=1) + "\n")


def load_matching_record(
    folder: RunFolder, record: RunRecord, allowed: Sequence[str] = (), same_root: bool = True
) -> RunRecord | None:
    """Load the record of a previous start of the same run.

    Args:
        folder: Run folder.
        record: Record of the run that starts now.
        allowed: Method settings that may differ.
        same_root: Whether the folder of the dataset must be the same.

    Returns:
        The record, or None if the folder contains no run.

    Raises:
        RunConflictError: If the folder contains a run with different settings, which must not be overwritten.
    """
    previous = read_record(folder)
    if previous is None or not previous.settings:  # a job that failed before the run was created
        return None
    for key in differing(previous.settings, record.settings):
        if key not in allowed:
            values = (dict(flatten(run.settings)).get(key) for run in (previous, record))
            old, new = ("null" if value is None else value for value in values)
            raise RunConflictError(f"{folder.path}: holds a run with {key}={old}, not {new}", key, old, new)
    if same_root and previous.root != record.root:
        raise RunConflictError(f"{folder.path}: holds a run with a different dataset.root", "dataset.root")
    return previous
