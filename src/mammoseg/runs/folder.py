"""Layout of a run folder, and the locations of the data of a run.

This module is the only definition of the layout. `mammoseg.train` writes run folders, other commands read them, and the
table in the documentation is generated from `RunFolder`.
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
LATEST_LINK = "latest"  # link in outputs/ to the newest finished run


@dataclass(frozen=True)
class RunFile:
    """File of a run folder.

    As an attribute of `RunFolder`, it is a `RunFile` on the class and a path on an instance.

    Attributes:
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

    Attributes:
        root: Folder of the dataset; None if unknown.
        store: Folder of the prepared images.
        tables: Folder of the tables of CBIS-DDSM; None if they are in `root`.
    """

    root: Path | None
    store: Path
    tables: Path | None = None

    def apply(self, dataset: DictConfig) -> None:
        """Set the paths in the config of a dataset, in place.

        Args:
            dataset: The section `dataset` of a config; checkpoints store it without paths.
        """
        dataset.root = None if self.root is None else str(self.root)
        dataset.store = str(self.store)
        if "tables" in dataset.reader:
            dataset.reader.tables = None if self.tables is None else str(self.tables)


class RunFolder:
    """Folder of one run, with one attribute per file.

    Args:
        path: Path of the folder.

    Example:
        >>> RunFolder.metrics.name
        'metrics.csv'
        >>> RunFolder(Path("outputs/run")).best_checkpoint.as_posix()
        'outputs/run/checkpoints/best.ckpt'
    """

    results = RunFile("results.csv", "one row per test image with the counts of TP, FP, FN and TN pixels")
    summary = RunFile("summary.md", "metrics: pooled, mean over images, and by density")
    best_checkpoint = RunFile(
        "checkpoints/best.ckpt", "checkpoint that is tested, by default the one with the highest validation DSC"
    )
    best_half1_checkpoint = RunFile(
        "checkpoints/best_half1.ckpt",
        "with `split.test=both`, instead of `best.ckpt`: checkpoint with the highest DSC on half 1 of the held-out "
        "fold, with which half 2 is tested",
    )
    best_half2_checkpoint = RunFile("checkpoints/best_half2.ckpt", "the same, with the halves exchanged")
    last_checkpoint = RunFile("checkpoints/last.ckpt", "state after the last epoch, from which `resume` continues")
    metrics = RunFile("metrics.csv", "values logged in each epoch")
    predictions = RunFile("predictions.npz", "predicted masks and probabilities of the test images")
    calibration = RunFile("calibration.csv", "predicted probabilities and observed frequencies in ten bins")
    detection = RunFile("detection.csv", "number of masses, found masses and false positives of each test image")
    overlays = RunFile("overlays.png", "one example per density with ground truth, prediction and heat map")
    curves = RunFile("curves.png", "loss and validation metrics by epoch")
    profile = RunFile(
        "fit-profile.txt", "with `trainer.profiler`: duration of each step of the training; may contain local paths"
    )
    split = RunFile("split.csv", "part of each image: train, val or test; with `split.test=both` train, half1 or half2")
    record = RunFile("run.json", "status, settings and library versions")
    log = RunFile("train.log", "log of the run")
    hydra = RunFile(".hydra", "command line and paths of this machine; not for sharing")
    lock = RunFile(".lock", "lock file of the process that works on the run")

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @classmethod
    def files(cls) -> list[RunFile]:
        """Return all files of a run folder, in the order of the documentation."""
        return [value for value in vars(cls).values() if isinstance(value, RunFile)]

    @classmethod
    def of_checkpoint(cls, checkpoint: Path) -> RunFolder:
        """Return the run folder of a checkpoint in its subfolder checkpoints/."""
        return cls(checkpoint.absolute().parent.parent)

    def best_checkpoint_of(self, selection: str) -> Path:
        """Return the path of the best checkpoint of a selection.

        Args:
            selection: Name of a `data.split_result.Selection`: empty, "half1" or "half2".
        """
        best = self.best_checkpoint
        return best.with_stem(f"{best.stem}_{selection}") if selection else best

    def best_checkpoints(self) -> list[Path]:
        """Return the best checkpoints that exist: `best_checkpoint`, or one for each half."""
        paths = (self.best_checkpoint, self.best_half1_checkpoint, self.best_half2_checkpoint)
        return [path for path in paths if path.is_file()]

    @property
    def launch_dir(self) -> Path | None:
        """Working directory in which the run was started; None if unknown."""
        path = self.hydra / "hydra.yaml"
        return _stored_path(_select(load_yaml(path), "hydra.runtime.cwd"), "hydra.runtime.cwd", path)

    def data_paths(self) -> DataPaths:
        """Return the locations of the data, independent of the current working directory.

        The folder can also be an output folder of `evaluate`.

        Raises:
            UserError: If a YAML file in .hydra/ is damaged.
        """
        stored: Mapping[Any, Any] = load_yaml(self.hydra / "data.yaml") or self._data_paths_of_config()
        source = self.hydra / "data.yaml"
        root, store, tables = (_stored_path(stored.get(name), name, source) for name in ("root", "store", "tables"))
        return DataPaths(root=root, store=store or Path(DEFAULT_STORE).absolute(), tables=tables)

    def write_data_paths(self, dataset: Mapping[str, Any] | DictConfig) -> None:
        """Store the locations of the data in .hydra/data.yaml.

        Args:
            dataset: Config of the dataset with the settings root, store and reader.tables.
        """
        reader = dataset.get("reader") or {}
        values = {"root": dataset.get("root"), "store": dataset.get("store"), "tables": reader.get("tables")}
        plain = {name: None if value is None else str(_absolute(value)) for name, value in values.items()}
        with atomic_write(self.hydra / "data.yaml") as file:
            file.write(OmegaConf.to_yaml(OmegaConf.create(plain)))

    def _data_paths_of_config(self) -> Mapping[str, Any]:
        """Locations of the data of a run of version 0.1, which stored only the composed config."""
        config, start = load_yaml(self.hydra / "config.yaml"), self.launch_dir
        if start is None:
            return {}
        if (checkpoint := OmegaConf.select(config, "ckpt")) is not None:  # output folder of `evaluate`
            trained = RunFolder.of_checkpoint(start / Path(str(checkpoint)).expanduser()).data_paths()
            known = {"root": trained.root, "store": trained.store, "tables": trained.tables}
            explicit = {"root": config.get("root"), "store": config.get("store")}
        else:
            known = {"store": Path(DEFAULT_STORE)}
            explicit = {name: OmegaConf.select(config, f"dataset.{name}") for name in ("root", "store")}
            explicit["tables"] = OmegaConf.select(config, "dataset.reader.tables")
        paths = {**known, **{name: value for name, value in explicit.items() if value is not None}}
        return {name: None if value is None else _absolute(value, start) for name, value in paths.items()}


def _stored_path(value: Any, name: str, source: Path) -> Path | None:
    """Convert a value of a YAML file of the run folder, which may have been edited, to a path.

    Raises:
        UserError: If it is not a path.
    """
    if value is not None and not isinstance(value, str | Path):
        raise UserError(
            f"{source}: {name} must be a path, got {type(value).__name__}; restore the file, or train again"
        )
    return None if value is None else Path(value)


def _select(config: DictConfig, key: str) -> Any:
    """Return the value of a key with dots; None if a part of it does not exist."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, DictConfig) else None
    return node


def _absolute(path: Any, start: Path | None = None) -> Path:
    return (start or Path.cwd()) / Path(str(path)).expanduser()


def load_yaml(path: Path) -> DictConfig:
    """Read a YAML mapping; returns an empty config if the file does not exist.

    Raises:
        UserError: If the file is damaged or contains anything but a mapping.
    """
    if not path.is_file():
        return OmegaConf.create()
    try:
        loaded = OmegaConf.create(load_yaml_file(path) or {})
    except (ValueError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: cannot be read ({type(error).__name__}); restore it, or train again") from error
    if not isinstance(loaded, DictConfig):
        raise UserError(f"{path}: must contain a mapping, got {type(loaded).__name__}; restore it, or train again")
    return loaded


def folders_with(top: Path, *names: str, max_depth: int | None = None) -> Iterator[RunFolder]:
    """Yield the folders that contain at least one of several files, in alphabetical order.

    Symbolic links to folders are followed, except the link to the newest run, and each folder is visited once. Hidden
    folders and virtual environments are skipped.

    Args:
        top: Folder to search, with subfolders.
        *names: Names of the files.
        max_depth: Maximum depth of subfolders below `top`; None is unlimited.
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
        subfolders[:] = [] if skip else sorted(name for name in subfolders if _is_visible(Path(folder, name)))


def _is_visible(folder: Path) -> bool:
    """Return whether to search a folder; a run is found at its own path, not at that of the link to the newest run."""
    return not folder.name.startswith((".", "__")) and not (folder.name == LATEST_LINK and folder.is_symlink())
