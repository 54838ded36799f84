"""A dataset as configured by `conf/dataset/*.yaml`: its location, its reader and its preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoseg.data.density_policy import DensityPolicy
from mammoseg.data.negatives import accepts_negatives, uses_negatives, validate_negatives
from mammoseg.data.prepare_store import StoreBuilder
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.data.readers.mammogram import Mammogram, Reader, RejectedCases
from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError
from mammoseg.validate import one_of, optional_positive_int

ON_ERROR = ("raise", "skip")


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset and its preprocessing.

    Attributes:
        name: Name in tables and file names.
        root: Folder of the dataset.
        reader: Lists the images in `root`; see `readers.mammogram.Reader`.
        builder: Preprocesses the images and writes the store.
        on_device: Whether all preprocessed images are copied to the device before training.
        generator: Called with `root` to create a synthetic dataset if `root` does not exist; None for real datasets.
    """

    name: str
    root: Path
    reader: Reader
    builder: StoreBuilder
    on_device: bool = False
    generator: Callable[[Path], object] | None = None

    def open_store(self, require_outlines: bool = False) -> PreparedStore:
        """Open the prepared store of this dataset, building it first if it does not exist.

        Args:
            require_outlines: Whether masses that are only marked by boxes or circles are an error.

        Returns:
            The prepared store.

        Raises:
            UserError: If `root` does not contain the dataset, if cases are rejected and `on_error` is "raise", or if
                there are masses without an outline and `require_outlines`.
        """
        rejected = RejectedCases()
        mammograms = self._read(rejected)
        if require_outlines and (n_marked := sum(bool(mammogram.locations) for mammogram in mammograms)):
            raise UserError(
                f"{self.name}: training and pixel metrics such as DSC require outlines or masks, but the masses of "
                f"{n_marked} of the {len(mammograms)} images are only marked by boxes or circles; use another dataset, "
                "or evaluate detection with mammoseg.evaluate native=true"
            )
        return self.builder.open(self.root, mammograms, rejected)

    def mammograms(self) -> dict[str, Mammogram]:
        """Return the accepted images in `root`, by case; a synthetic dataset is created first if it does not exist."""
        return {mammogram.case: mammogram for mammogram in self._read(RejectedCases())}

    @property
    def with_negatives(self) -> bool:
        """Whether images without a mass are used."""
        return uses_negatives(self.builder.negatives)

    def _read(self, rejected: RejectedCases) -> list[Mammogram]:
        if self.generator is not None and not self.root.is_dir():
            self.generator(self.root)
        options = {"negatives": self.with_negatives} if accepts_negatives(self.reader) else {}
        mammograms = self.reader(self.root, rejected, **options)
        if not isinstance(mammograms, list) or not all(isinstance(image, Mammogram) for image in mammograms):
            raise UserError(f"dataset.reader must return a list of Mammogram, got {type(mammograms).__name__}")
        return mammograms


def build_dataset(  # noqa: D417, groups of arguments are described together
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
    density_model: str | None = None,
    negatives: str | float = "none",
    source: Callable[[Path], object] | None = None,
    published: Mapping[str, int] | None = None,
    note: str = "",
    **preprocessing: Any,
) -> DatasetSpec:
    """Build a dataset from the settings in `conf/dataset` and `conf/preprocessing`.

    Args:
        name, root, reader, on_device, source: See `DatasetSpec`; `source` is its `generator`.
        store, on_error, workers, published, note, density_model: See `StoreBuilder`; `store` contains all stores.
        density, missing_density, negatives: See `DensityPolicy` and `validate_negatives`, which raise UserError.
        **preprocessing: See `PreprocessingSettings`, which raises UserError for invalid settings.
    """
    builder = StoreBuilder(
        dataset=name,
        store_root=Path(store).expanduser(),
        settings=PreprocessingSettings(**preprocessing),
        density=DensityPolicy(density, missing_density),
        on_error=one_of("dataset.on_error", on_error, ON_ERROR),
        workers=optional_positive_int("dataset.workers", workers),
        published=dict(published or {}),
        note=note,
        density_model=density_model,
        negatives=validate_negatives(negatives, reader),
    )
    return DatasetSpec(name, Path(root).expanduser(), reader, builder, on_device, source)
