"""Preprocessing of a dataset into a store, once per combination of settings and input files."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mammoseg.data.density_policy import DensityPolicy
from mammoseg.data.negatives import Negatives, select_patients
from mammoseg.data.preprocessing.cache import PreprocessingCache
from mammoseg.data.preprocessing.density_model import (
    DensityModel,
    load_density_model,
    mean_by_patient,
)
from mammoseg.data.preprocessing.fingerprints import FileHashes, cache_key, hash_json, input_files, relative_name
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.data.readers.consistency import reject_repeated_images, unify_patients
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.data.readers.mass_location import format_locations
from mammoseg.data.store import Case, NpyWriter, PreparedStore, write_cases
from mammoseg.errors import UserError
from mammoseg.files import atomic_dir, atomic_write_text

log = logging.getLogger(__name__)

CACHE_PREFIX = ".preparing-"  # of the folders of preprocessing caches, which are next to the stores
HASHES_PREFIX = ".hashes-"  # of the indices of content hashes


@dataclass(frozen=True)
class StoreBuilder:
    """Opens the prepared store of a list of images, building it first if it does not exist.

    Attributes:
        dataset: Name of the dataset.
        store_root: Folder that contains all stores.
        settings: Preprocessing settings.
        density: Choice of the ACR density of each image.
        on_error: "raise" to fail on rejected cases, "skip" to continue without them.
        workers: Number of preprocessing processes; None for one per CPU core.
        published: Published counts of the complete dataset, for the data report.
        note: Note for the data report.
        density_model: Name of a file in the folder of the dataset, see `DensityModel`; None for the default model.
        negatives: Which images without a mass are used: "all" or a fraction in (0, 1). With "none", readers return only
            those with an empty mask file.
    """

    dataset: str
    store_root: Path
    settings: PreprocessingSettings
    density: DensityPolicy
    on_error: str
    workers: int | None
    published: Mapping[str, int]
    note: str
    density_model: str | None = None
    negatives: Negatives = "none"

    def open(self, root: Path, mammograms: Sequence[Mammogram], rejected: RejectedCases) -> PreparedStore:
        """Open the store of a list of images.

        Args:
            root: Folder of the dataset.
            mammograms: Images accepted by the reader.
            rejected: Cases rejected by the reader. Images without a density and images that cannot be preprocessed are
                added.

        Returns:
            The prepared store.

        Raises:
            UserError: If cases are rejected and `on_error` is "raise", if no image or no mass remains, or if
                `negatives` are required and there are none.
        """
        model = load_density_model(self.density_model, root)
        digests = self._hash_files(root, mammograms)
        consistent = reject_repeated_images(unify_patients(mammograms), digests, rejected)
        accepted = self.density.apply(consistent, rejected)
        by_key = {cache_key(mammogram, root, digests): mammogram for mammogram in accepted}
        folder = self.store_root / f"{self.dataset}-{self.fingerprint(by_key, rejected, model)}"
        if not folder.is_dir():
            self._build(root, by_key, rejected, folder, model)
        store = PreparedStore.open(folder)
        if store.skipped and self.on_error == "raise":
            self._raise_rejected(RejectedCases(list(store.skipped)), root)
        self._require_mass(store.cases, root)
        if store.skipped:
            # data_report.json lists all of them; a partial download lacks hundreds of images.
            skipped = RejectedCases(list(store.skipped)).summary()
            log.warning("%s: %d cases skipped:\n%s", self.dataset, len(store.skipped), skipped)
        return store

    def _require_mass(self, cases: Sequence[Case], root: Path) -> None:
        if self.negatives == "none" and not any(case.has_mass for case in cases):
            raise UserError(
                f"{root}: at least one mask must contain a mass, got {len(cases)} empty masks; check the masks, or set "
                "dataset.negatives=all to test images without a mass only"
            )
        if self.negatives != "none" and all(case.has_mass for case in cases):
            raise UserError(
                f"{root}: dataset.negatives must be none if all images have a mass, got {self.negatives}; add images "
                "without a mass"
            )

    def _hash_files(self, root: Path, mammograms: Sequence[Mammogram]) -> dict[Path, str]:
        location = hash_json(os.fspath(root.absolute()))  # stores of several roots may be in one folder
        index = self.store_root / f"{HASHES_PREFIX}{self.dataset}-{location}.json"
        return FileHashes(index, root).digests(file for mammogram in mammograms for file in input_files(mammogram))

    def fingerprint(self, by_key: Mapping[str, Mammogram], rejected: RejectedCases, model: DensityModel) -> str:
        """Return a hash of all settings and input files that affect the store; part of its folder name.

        Args:
            by_key: Accepted images by cache key, in the order of the store's rows.
            rejected: Cases rejected so far.
            model: Estimates the densities.

        Returns:
            16 hexadecimal digits.
        """
        cases = [[key, m.case, m.patient, m.density, m.side, m.view, m.split, m.masses] for key, m in by_key.items()]
        density = [self.density.source, str(self.density.missing), model.digest]
        ignored = sorted(rejected.ignored.items())
        content = [self.settings.digest, density, rejected.rows, ignored, cases]
        return hash_json([*content, *self._optional(rejected).values()])

    def _build(
        self, root: Path, by_key: Mapping[str, Mammogram], rejected: RejectedCases, folder: Path, model: DensityModel
    ) -> None:
        digest = hash_json([self.settings.digest, model.digest])
        cache_dir = self.store_root / f"{CACHE_PREFIX}{self.dataset}-{digest}"
        cache = PreprocessingCache(cache_dir, self.settings, model, self.workers)
        with cache.lock():
            if folder.is_dir():  # another process has built it in the meantime
                return
            reasons = cache.fill(dict(by_key), self.dataset)
            for key in by_key:
                if key in reasons:
                    rejected.add(relative_name(by_key[key].image_file, root), reasons[key])
            prepared = {key: mammogram for key, mammogram in by_key.items() if key not in reasons}
            usable = reject_copies(cache, prepared, rejected)
            if rejected.rows and self.on_error == "raise":
                self._raise_rejected(rejected, root)
            if not usable:
                raise UserError(f"{root}: no usable image with a mass remains\n{rejected.format()}".rstrip())
            if isinstance(self.negatives, float):
                usable = keep_fraction_of_negatives(cache, usable, self.negatives)
            self._write_store(cache, root, usable, rejected, folder)
            shutil.rmtree(cache_dir, ignore_errors=True)

    def _raise_rejected(self, rejected: RejectedCases, root: Path) -> None:
        raise UserError(
            f"cases in {root} that cannot be used: {len(rejected.rows)}; fix them, or set dataset.on_error=skip to "
            f"skip them (images that are already preprocessed will be reused):\n{rejected.format()}"
        )

    def _write_store(
        self,
        cache: PreprocessingCache,
        root: Path,
        by_key: Mapping[str, Mammogram],
        rejected: RejectedCases,
        folder: Path,
    ) -> None:
        """Write the cached images to a store, in the order of the reader."""
        with atomic_dir(folder) as tmp_dir, ExitStack() as files:
            writers = {
                name: files.enter_context(NpyWriter(tmp_dir / f"{name}.npy", len(by_key)))
                for name in PreparedStore.ARRAYS
            }
            columns = []
            for key, mammogram in by_key.items():
                sample = cache.load(key, mammogram)
                for name, writer in writers.items():
                    writer.append(getattr(sample, name))
                columns.append(sample.columns)
            cases = self._cases(list(by_key.values()), columns)
            if uncropped := [case.case for case in cases if case.crop_skipped]:
                log.warning(
                    "%d images not cropped, because the crop would have cut a mass: %s",
                    len(uncropped),
                    ", ".join(uncropped),
                )
            self._require_mass(cases, root)
            write_cases(tmp_dir / "cases.csv", cases)
            atomic_write_text(tmp_dir / "about.json", json.dumps(self._about(rejected), indent=1) + "\n")

    def _cases(self, mammograms: Sequence[Mammogram], columns: Sequence[Mapping[str, Any]]) -> list[Case]:
        """Return the rows of the store; the images of a patient have the same density score."""
        means = mean_by_patient(
            [row["image_density_score"] for row in columns], [mammogram.patient for mammogram in mammograms]
        )
        return [
            self._case(mammogram, row, round(mean, 4))
            for mammogram, row, mean in zip(mammograms, columns, means, strict=True)
        ]

    def _case(self, mammogram: Mammogram, columns: Mapping[str, Any], density_score: float) -> Case:
        density, estimate = self.density.resolve(mammogram.density, density_score)
        return Case(
            case=mammogram.case,
            patient=mammogram.patient,
            density=density,
            given_density=mammogram.density,
            estimated_density=estimate,
            side=mammogram.side,
            view=mammogram.view,
            split=mammogram.split,
            masses=mammogram.masses if columns["mass_area"] or mammogram.locations else 0,
            density_score=density_score,
            source=mammogram.source,
            mass_locations=format_locations(mammogram.locations),
            **columns,
        )

    def _about(self, rejected: RejectedCases) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            **asdict(self.settings),
            **self.density.settings,
            "density_model": self.density_model,
            "published": dict(self.published),
            "remark": self.note,  # the key in about.json since version 0.1
            "skipped": rejected.rows,
            "ignored": dict(rejected.ignored),
            **self._optional(rejected),
        }

    def _optional(self, rejected: RejectedCases) -> dict[str, Any]:
        """Return the values that only some stores have; without them, the fingerprint is that of earlier versions."""
        values = {"negatives": self.negatives} if isinstance(self.negatives, float) else {}
        return {**values, **({"found": rejected.found} if rejected.found else {})}


def reject_copies(
    cache: PreprocessingCache, by_key: Mapping[str, Mammogram], rejected: RejectedCases
) -> dict[str, Mammogram]:
    """Reject images with the pixels of another image, such as copies in another file format.

    Args:
        cache: Contains the preprocessed images.
        by_key: The images by cache key.
        rejected: Receives the rejected cases.

    Returns:
        The accepted images, in the same order.
    """
    hashes: dict[Path, str] = {}
    for key, mammogram in by_key.items():
        metadata = cache.metadata(key, mammogram)
        hashes |= dict.fromkeys(input_files(mammogram), metadata["mask_hash"])
        hashes[mammogram.image_file] = metadata["image_hash"]
    accepted = {mammogram.case for mammogram in reject_repeated_images([*by_key.values()], hashes, rejected)}
    return {key: mammogram for key, mammogram in by_key.items() if mammogram.case in accepted}


def keep_fraction_of_negatives(
    cache: PreprocessingCache, by_key: Mapping[str, Mammogram], fraction: float
) -> dict[str, Mammogram]:
    """Remove images without a mass so that about a fraction of them remains; see `select_patients`.

    Args:
        cache: Contains the preprocessed images, which show whether the mask of an image is empty.
        by_key: The images by cache key.
        fraction: Fraction of the images without a mass, in (0, 1).

    Returns:
        The remaining images, in the same order.
    """
    negatives = {
        key: mammogram
        for key, mammogram in by_key.items()
        if not mammogram.locations and not cache.metadata(key, mammogram)["columns"]["mass_area"]
    }
    if not negatives:
        return dict(by_key)
    selected = select_patients([mammogram.patient for mammogram in negatives.values()], fraction)
    return {
        key: mammogram for key, mammogram in by_key.items() if key not in negatives or mammogram.patient in selected
    }
