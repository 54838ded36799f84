"""A run folder: every file of a run, and the location of its data.

This module is the only description of the layout; `python -m mammoseg.train` writes it, the other commands read it, and
the table in the documentation is generated from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mammoseg.errors import UserError
from mammoseg.files import atomic_write
from mammoseg.safe_yaml import load_yaml_file

DEFAULT_STORE = "data/prepared"
EXPORTED_WEIGHTS = "model.safetensors"  # of a model that `export` wrote, in a folder of its own


@dataclass(frozen=True)
class RunFile:
    """A file of a run folder.

    Args:
        name: Path relative to the folder.
        meaning: Description for the documentation.
    """

    name: str
    meaning: str

    @overload
    def __get__(self, run: None, owner: type) -> RunFile: ...
    @overload
    def __get__(self, run: RunFolder, owner: type) -> Path: ...
    def __get__(self, run: RunFolder | None, owner: type) -> RunFile | Path:
        return self if run is None else run.path / self.name


@dataclass(frozen=True)
class DataPaths:
    """Locations of the data of a run on this machine, as absolute paths.

    Args:
        root: The dataset's folder, None if it is not known.
        store: The folder of the prepared images.
        tables: The folder of CBIS-DDSM's tables, if it is not below `root`.
    """

    root: Path | None
    store: Path
    tables: Path | None = None

    def apply(self, dataset: DictConfig) -> None:
        """Set the private settings of the configuration `dataset`, which checkpoints do not carry."""
        dataset.root = None if self.root is None else str(self.root)
        dataset.store = str(self.store)
        if "tables" in dataset.reader:
            dataset.reader.tables = None if self.tables is None else str(self.tables)


class RunFolder:
    """The folder of one run.

    Each file is an attribute: on an instance its path, on the class a `RunFile` with name and meaning.
    """

    results = RunFile("results.csv", "one row per test image with its counts of true and false pixels")
    summary = RunFile("summary.md", "the metrics: pooled, mean over images, and by density")
    best_checkpoint = RunFile("checkpoints/best.ckpt", "the checkpoint with the highest validation DSC")
    last_checkpoint = RunFile("checkpoints/last.ckpt", "the state after the last epoch; `resume` starts here")
    metrics = RunFile("metrics.csv", "the values logged in each epoch")
    predictions = RunFile("predictions.npz", "predicted masks and probabilities of the test images")
    calibration = RunFile("calibration.csv", "predicted probabilities and observed frequencies, in ten bins")
    overlays = RunFile("overlays.png", "an example of each density with ground truth, prediction and heat map")
    curves = RunFile("curves.png", "loss and validation metrics by epoch")
    split = RunFile("split.csv", "the part (train, val, test) of each image")
    record = RunFile("run.json", "status, settings and library versions")
    log = RunFile("train.log", "the log of the run")
    hydra = RunFile(".hydra", "the command line and the paths of this machine; not for sharing")
    lock = RunFile(".lock", "held by the process that works on the run")

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @classmethod
    def files(cls) -> list[RunFile]:
        """All files of a run folder, in the order of the documentation."""
        return [value for value in vars(cls).values() if isinstance(value, RunFile)]

    @classmethod
    def of_checkpoint(cls, checkpoint: Path) -> RunFolder:
        """The run folder that contains `checkpoint`, whose folder is checkpoints/."""
        return cls(checkpoint.absolute().parent.parent)

    @property
    def launch_dir(self) -> Path | None:
        """The working directory the run was started in, None if it is not known."""
        stored = load_yaml(self.hydra / "hydra.yaml")
        cwd = OmegaConf.select(stored, "hydra.runtime.cwd")
        return None if cwd is None else Path(cwd)

    def data_paths(self) -> DataPaths:
        """Locations of the data of this run, independent of the current working directory.

        The folder may also be one that `evaluate` wrote.
        """
        stored: Mapping[Any, Any] = load_yaml(self.hydra / "data.yaml") or self._data_paths_of_config()
        root, tables = stored.get("root"), stored.get("tables")
        return DataPaths(
            root=None if root is None else Path(root),
            store=Path(stored.get("store") or Path(DEFAULT_STORE).absolute()),
            tables=None if tables is None else Path(tables),
        )

    def write_data_paths(self, dataset: Mapping[str, Any] | DictConfig) -> None:
        """Store the locations of the data: the settings root, store and reader.tables of `dataset`."""
        reader = dataset.get("reader") or {}
        values = {"root": dataset.get("root"), "store": dataset.get("store"), "tables": reader.get("tables")}
        plain = {name: None if value is None else str(_absolute(value)) for name, value in values.items()}
        with atomic_write(self.hydra / "data.yaml") as file:
            file.write(OmegaConf.to_yaml(OmegaConf.create(plain)))

    def _data_paths_of_config(self) -> Mapping[str, Any]:
        """The same for runs of version 0.1, which stored the composed configuration only."""
        config, start = load_yaml(self.hydra / "config.yaml"), self.launch_dir
        if start is None:
            return {}
        if (checkpoint := OmegaConf.select(config, "ckpt")) is not None:  # written by `evaluate`
            paths = RunFolder.of_checkpoint(start / Path(str(checkpoint)).expanduser()).data_paths()
            known = {"root": paths.root, "store": paths.store, "tables": paths.tables}
            explicit = {"root": config.get("root"), "store": config.get("store")}
        else:
            known = {"store": Path(DEFAULT_STORE)}
            explicit = {name: OmegaConf.select(config, f"dataset.{name}") for name in ("root", "store")}
            explicit["tables"] = OmegaConf.select(config, "dataset.reader.tables")
        found = {**known, **{name: value for name, value in explicit.items() if value is not None}}
        return {name: None if value is None else _absolute(value, start) for name, value in found.items()}


def _absolute(path: Any, start: Path | None = None) -> Path:
    return (start or Path.cwd()) / Path(str(path)).expanduser()


def load_yaml(path: Path) -> DictConfig:
    """The YAML mapping at `path`, empty if there is no such file."""
    if not path.is_file():
        return OmegaConf.create()
    try:
        loaded = OmegaConf.create(load_yaml_file(path) or {})
    except (ValueError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: cannot be read ({type(error).__name__}); restore it, or train again") from error
    if not isinstance(loaded, DictConfig):
        raise UserError(f"{path}: must hold a mapping, got {type(loaded).__name__}; restore it, or train again")
    return loaded


def folders_with(top: Path, *names: str, max_depth: int | None = None) -> Iterator[RunFolder]:
    """The folders at or below `top` that contain one of the files `names`, in alphabetical order.

    Links to folders are followed, each folder is visited once. Hidden folders and virtual environments are skipped.
    """
    seen: set[str] = set()
    for folder, subfolders, files in os.walk(top, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            subfolders.clear()
            continue
        seen.add(real)
        if not {*names}.isdisjoint(files):
            yield RunFolder(Path(folder))
        depth = len(Path(folder).relative_to(top).parts)
        skip = "pyvenv.cfg" in files or (max_depth is not None and depth >= max_depth)
        subfolders[:] = [] if skip else sorted(name for name in subfolders if not name.startswith((".", "__")))
