"""run.json: the settings of a run, the library versions, its status and its score.

No path of the user's machine is in it, so that a run folder may be shared.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mammoseg.errors import RunConflictError, UserError
from mammoseg.files import atomic_write_text
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.settings import differing, flatten, public
from mammoseg.runs.upgrade import upgrade_config

FORMAT = 2  # version 0.1 wrote none
PACKAGES = ("torch", "lightning", "torchmetrics", "hydra-core", "numpy", "pydicom", "mammoseg")


class Status(StrEnum):
    """Status of a run."""

    RUNNING = "running"  # also after kill -9 or a power failure, which leave no time to update it
    STOPPED = "stopped"  # by Ctrl-C or a signal
    FAILED = "failed"
    PRUNED = "pruned"  # by a search; not tested
    FINISHED = "finished"
    EVALUATED = "evaluated"  # results of a checkpoint that was tested again


@dataclass(frozen=True)
class RunRecord:
    """The content of run.json.

    Args:
        run_info: Identity of the run as in results.csv: run, experiment, dataset, method, model, loss, fold, seed.
        settings: Public settings, see `runs.settings.public`.
        root: Digest of the dataset's folder, which identifies it without its path.
        versions: Version of Python and of each package that results depend on.
        status: See `Status`.
        started: Time of the first start, ISO 8601 in UTC.
        score: Validation DSC of the best checkpoint, once it is finished or pruned.
        parameters: Number of the network's parameters.
        minutes: Duration; None for a run that was interrupted.
        pruned: Epoch after which a search stopped it.
        error: First line of the error that ended it.
        job: Number, overrides and seconds of the sweep's job, None for a single run.
        trained: Whether training has ended, so that only the test is missing.
        format: Version of this layout.
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
    format: int = FORMAT

    @property
    def is_complete(self) -> bool:
        """Whether the run needs no more work: finished or pruned."""
        return self.status in (Status.FINISHED, Status.PRUNED)


def make_record(cfg: DictConfig, run_info: Mapping[str, Any], init_digest: str | None = None) -> RunRecord:
    """Make the record of a run that starts now.

    Args:
        cfg: The composed configuration of `train`.
        run_info: Identity of the run.
        init_digest: Digest of the weights that `init_from` names.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    settings = {**public(plain), "init_from": init_digest}
    return RunRecord(
        run_info=dict(run_info),
        settings=json.loads(json.dumps(settings)),  # tuples become lists, as when read back
        root=path_digest(Path(cfg.dataset.root)),
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        started=datetime.now(UTC).isoformat(timespec="microseconds"),
    )


def redact_paths(text: str, folder: Path, cfg: DictConfig) -> str:
    """`text` with the paths of this machine replaced by names such as "dataset.root"."""
    keys = ("dataset.root", "dataset.store", "dataset.reader.tables", "init_from", "resume")
    paths = {str(folder): folder.name, **{str(OmegaConf.select(cfg, key) or ""): key for key in keys}}
    for path, name in {**paths, str(Path.cwd()): ".", str(Path.home()): "~"}.items():
        if len(path) > 1 and Path(path).expanduser().is_absolute():
            text = text.replace(path, name)
    return text


def path_digest(path: Path) -> str:
    """A short digest of an absolute path."""
    return hashlib.sha256(str(path.expanduser().resolve()).encode()).hexdigest()[:16]


def read_record(folder: RunFolder) -> RunRecord | None:
    """Read the record of the run in `folder`, None if there is none.

    Raises:
        UserError: If the file is damaged.
    """
    path = folder.record
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        known = {name: value for name, value in _upgrade(stored).items() if name in _FIELDS}
        return RunRecord(**{**known, "status": Status(known["status"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: damaged ({error}); remove it, or the whole run folder, and run again") from error


_FIELDS = {field.name for field in fields(RunRecord)}


def _upgrade(stored: dict[str, Any]) -> dict[str, Any]:
    """Bring a record of an earlier version to the layout of this one.

    Version 0.1 had no status, and another name for run_info.
    """
    stored = {**stored, "settings": upgrade_config(stored.get("settings", {}))}
    if "format" not in stored and "status" not in stored:
        complete = Status.PRUNED if stored.get("pruned") else Status.FINISHED
        stored = {**stored, "status": complete if stored.get("score") is not None else Status.RUNNING}
    if "about" in stored:
        stored = {"run_info": stored["about"], **stored}
    return stored


def write_record(folder: RunFolder, record: RunRecord) -> None:
    """Write run.json atomically."""
    atomic_write_text(folder.record, json.dumps(asdict(record), indent=1) + "\n")


def load_matching_record(
    folder: RunFolder, record: RunRecord, allowed: Sequence[str] = (), same_root: bool = True
) -> RunRecord | None:
    """Load the record of the same run, finished or not, if `folder` contains one.

    Args:
        folder: The run folder.
        record: The run that is about to start there.
        allowed: Settings that may differ although they are part of the method.
        same_root: Whether the dataset's folder must be the same.

    Raises:
        RunConflictError: If the folder contains a run with other settings, which must not be overwritten.
    """
    previous = read_record(folder)
    if previous is None or not previous.settings:  # a sweep's job that failed before its run was created
        return None
    for key in differing(previous.settings, record.settings):
        if key not in allowed:
            old, new = (dict(flatten(each.settings)).get(key) for each in (previous, record))
            raise RunConflictError(f"{folder.path}: holds a run with {key}={old}, not {new}", key, old, new)
    if same_root and previous.root != record.root:
        raise RunConflictError(f"{folder.path}: holds a run with another dataset.root", "dataset.root")
    return previous
