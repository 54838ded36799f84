"""A dataset as configured by `conf/dataset/*.yaml`: where it is, who reads it, and how it is preprocessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoseg.data.density_policy import DensityPolicy
from mammoseg.data.prepare_store import StoreBuilder
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.data.readers.mammogram import Mammogram, Reader, RejectedCases
from mammoseg.data.store import PreparedStore
from mammoseg.validate import one_of, optional_positive_int

ON_ERROR = ("raise", "skip")


@dataclass(frozen=True)
class DatasetSpec:
    """Mammograms of one kind, and how they become the network's input.

    Attributes:
        name: What tables call it.
        root: Its folder.
        reader: (root, rejected) -> images; see `readers.mammogram.Reader`.
        builder: How images are preprocessed and where they are stored.
        on_device: Whether training keeps the preprocessed images on its device.
        generator: Called with `root` if that does not exist, to create the dataset (synthetic data).
    """

    name: str
    root: Path
    reader: Reader
    builder: StoreBuilder
    on_device: bool = False
    generator: Callable[[Path], object] | None = None

    def open_store(self) -> PreparedStore:
        """Open the store of this dataset with these settings; prepare it first if it does not exist.

        Raises:
            UserError: If there is no dataset at `root`, or for cases that cannot be used unless dataset.on_error=skip.
        """
        if self.generator is not None and not self.root.is_dir():
            self.generator(self.root)
        rejected = RejectedCases()
        return self.builder.open(self.root, self.reader(self.root, rejected), rejected)

    def mammograms(self) -> dict[str, Mammogram]:
        """The images at `root` by case, as the reader finds them, without those that it rejects."""
        return {mammogram.case: mammogram for mammogram in self.reader(self.root, RejectedCases())}


def build_dataset(
    name: str,
    root: str,
    reader: Reader,
    *,
    store: str = "data/prepared",
    on_error: str = "raise",
    workers: int | None = None,
    on_device: bool = False,
    density: str = "given",
    missing_density: str | int = "error",
    density_cuts: Sequence[float] = (0.169, 0.390, 0.567),
    source: Callable[[Path], object] | None = None,
    published: Mapping[str, int] | None = None,
    note: str = "",
    **preprocessing: Any,
) -> DatasetSpec:
    """Build a dataset from the settings of `conf/dataset` and `conf/preprocessing`, where they are described.

    Args:
        name, root, reader, on_device: See `DatasetSpec`.
        store, on_error, workers, published, note: See `StoreBuilder`.
        density, missing_density, density_cuts: See `DensityPolicy`.
        source: See `DatasetSpec.generator`.
        **preprocessing: See `PreprocessingSettings`.

    Raises:
        UserError: If a setting is invalid.
    """
    builder = StoreBuilder(
        dataset=name,
        store_root=Path(store).expanduser(),
        settings=PreprocessingSettings(**preprocessing),
        density=DensityPolicy(density, missing_density, density_cuts),
        on_error=one_of("dataset.on_error", on_error, ON_ERROR),
        workers=optional_positive_int("dataset.workers", workers),
        published=dict(published or {}),
        note=note,
    )
    return DatasetSpec(name, Path(root).expanduser(), reader, builder, on_device, source)
