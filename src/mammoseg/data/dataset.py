"""A dataset: where it lies, who reads it, how it is prepared. `conf/dataset/*.yaml` fills one in."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mammoseg.data.preprocessing.cache import Settings, Workshop, digest, key_of, relative
from mammoseg.data.preprocessing.density_estimate import category
from mammoseg.data.readers.mammogram import DENSITIES, BadCases, Mammogram, Reader
from mammoseg.data.store import ArrayFile, Case, Store, write_cases
from mammoseg.errors import UserError
from mammoseg.files import atomic_dir

log = logging.getLogger(__name__)

WORKSHOP = ".preparing-"  # beside the finished stores: images of one that is not finished


@dataclass(frozen=True)
class Dataset:
    """Mammograms of one kind, and how they become the network's input.

    `name`: what tables call it. `root`: its folder. `reader`: (root, bad) -> images.
    `size`: side of the prepared images in pixels, a multiple of 16. `crop`, `aspect`, `normalise`, `flip`: see
    `clean.clean`. `density`: "given", or "estimated" to use the estimate for all images.
    `missing_density`: where it is not given: "error", "drop", "estimate", or the ACR category 1-4 to assume.
    `density_cuts`: percent densities, 0 to 1, between the four estimated categories.
    `on_bad`: "error" or "skip" for cases that cannot be read. `store`: where prepared arrays are kept.
    `workers`: processes that prepare; None takes one per core. `on_device`: training keeps the prepared images on its
    device, and needs no processes that load them.
    `source`: called with `root` if that does not exist, to fill it (synthetic data).
    `published`: counts of the complete dataset, which the data report compares; `remark`: stands below them.
    Raises UserError for settings outside these.
    """

    name: str
    root: str
    reader: Reader
    size: int = 256
    crop: bool = True
    aspect: str = "stretch"
    normalise: str = "minmax"
    flip: str = "none"
    density: str = "given"
    missing_density: str | int = "error"
    density_cuts: Sequence[float] = (0.169, 0.390, 0.567)
    on_bad: str = "error"
    store: str = "data/prepared"
    workers: int | None = None
    on_device: bool = False
    source: Callable[[Path], object] | None = None
    published: Mapping[str, int] | None = None
    remark: str = ""

    def __post_init__(self) -> None:
        if self.size < 16 or self.size % 16:
            raise UserError(f"dataset.size={self.size}, but the networks need a multiple of 16")
        if self.workers is not None and self.workers < 1:
            raise UserError(f"dataset.workers={self.workers}, but it takes at least 1, or null for one per core")
        choices: dict[str, tuple[object, ...]] = {
            "aspect": ("stretch", "pad"),
            "normalise": ("minmax", "percentile", "zscore"),
            "flip": ("none", "left", "right"),
            "density": ("given", "estimated"),
            "missing_density": ("error", "drop", "estimate", *DENSITIES),
            "on_bad": ("error", "skip"),
        }
        for setting, allowed in choices.items():
            if (value := getattr(self, setting)) not in allowed:
                raise UserError(f"dataset.{setting}={value}, but the choices are {', '.join(map(str, allowed))}")
        cuts = list(self.density_cuts)
        if len(cuts) != len(DENSITIES) - 1 or cuts != sorted(cuts) or not all(0 <= cut <= 1 for cut in cuts):
            raise UserError(f"dataset.density_cuts={cuts}, but it takes three ascending numbers between 0 and 1")

    def prepared(self) -> Store:
        """The store of this dataset with these settings, prepared now if it is not there yet.

        Raises UserError if there is no dataset at `root`, or for bad cases under on_bad=error.
        """
        root = Path(self.root).expanduser()
        if self.source is not None and not root.is_dir():
            self.source(root)
        bad = BadCases()
        mammograms = self.with_density(self.reader(root, bad), bad)
        keys = {key_of(mammogram, root): mammogram for mammogram in mammograms}
        folder = Path(self.store).expanduser() / f"{self.name}-{self.fingerprint(keys, bad)}"
        if not folder.is_dir():
            self.prepare(root, keys, bad, folder)
        store = Store.open(folder)
        if store.skipped and self.on_bad == "error":
            self.refuse(BadCases(list(store.skipped)), root)
        for file, reason in store.skipped:
            log.warning("%s left out: %s", file, reason)
        return store

    def mammograms(self) -> dict[str, Mammogram]:
        """What lies at `root`, by case, as the reader finds it; cases that it cannot use are not among it."""
        return {mammogram.case: mammogram for mammogram in self.reader(Path(self.root).expanduser(), BadCases())}

    def with_density(self, mammograms: Sequence[Mammogram], bad: BadCases) -> list[Mammogram]:
        """Those that have a density or will get one."""
        if self.density == "estimated":
            return list(mammograms)
        known = []
        for mammogram in mammograms:
            if mammogram.density is not None or self.missing_density == "estimate":
                known.append(mammogram)
            elif isinstance(self.missing_density, int):
                known.append(replace(mammogram, density=self.missing_density))
            elif self.missing_density == "drop":
                log.warning("%s left out: no ACR density", mammogram.case)
            else:
                bad.add(mammogram.case, "no ACR density; set dataset.missing_density=drop, =estimate, or =1 to =4")
        return known

    @property
    def settings(self) -> Settings:
        return Settings(self.size, self.crop, self.aspect, self.normalise, self.flip)

    def fingerprint(self, keys: Mapping[str, Mammogram], bad: BadCases) -> str:
        """Changes with every setting that changes the store, and with every input file."""
        cases = [
            [key, m.case, m.patient, m.density, m.side, m.view, m.split, m.masses] for key, m in sorted(keys.items())
        ]
        estimates = [self.density, str(self.missing_density), list(self.density_cuts)]
        return digest([self.settings.digest, estimates, bad.rows, cases])

    def prepare(self, root: Path, keys: Mapping[str, Mammogram], bad: BadCases, folder: Path) -> None:
        workplace = folder.with_name(f"{WORKSHOP}{self.name}-{self.settings.digest}")
        workshop = Workshop(workplace, self.settings, self.workers)
        with workshop.alone():
            if folder.is_dir():
                return
            reasons = workshop.make(dict(keys), self.name)
            for key in keys:
                if key in reasons:
                    bad.add(relative(keys[key].image_file, root), reasons[key])
            if bad.rows and self.on_bad == "error":
                self.refuse(bad, root)
            good = {key: mammogram for key, mammogram in keys.items() if key not in reasons}
            if not good:
                raise UserError(f"{root}: no usable image with a mass is left\n{bad.table()}".rstrip())
            self.assemble(workshop, good, bad, folder)
            shutil.rmtree(workplace, ignore_errors=True)

    def refuse(self, bad: BadCases, root: Path) -> None:
        raise UserError(
            f"{len(bad.rows)} cases below {root} cannot be used; mend them, or set dataset.on_bad=skip "
            f"to go on without them; what is prepared is kept:\n{bad.table()}"
        )

    def assemble(self, workshop: Workshop, keys: Mapping[str, Mammogram], bad: BadCases, folder: Path) -> None:
        """The single images -> the store, in the reader's order."""
        with atomic_dir(folder) as scratch, ExitStack() as files:
            arrays = {name: files.enter_context(ArrayFile(scratch / f"{name}.npy", len(keys))) for name in Store.ARRAYS}
            cases = []
            for key, mammogram in keys.items():
                prepared = workshop.take(key, mammogram)
                for name, array in arrays.items():
                    array.append(getattr(prepared, name))
                cases.append(self.case(mammogram, prepared.facts))
            if cut := [case.case for case in cases if case.whole]:
                log.warning("%d images kept whole, since the crop would have cut a mass: %s", len(cut), ", ".join(cut))
            write_cases(scratch / "cases.csv", cases)
            (scratch / "about.json").write_text(json.dumps(self.about(bad), indent=1) + "\n")

    def case(self, mammogram: Mammogram, facts: Mapping[str, Any]) -> Case:
        estimate = category(facts["percent_density"], self.density_cuts)
        used = estimate if self.density == "estimated" or mammogram.density is None else mammogram.density
        return Case(
            case=mammogram.case,
            patient=mammogram.patient,
            density=used,
            given_density=mammogram.density or 0,
            estimated_density=estimate,
            side=mammogram.side,
            view=mammogram.view,
            split=mammogram.split,
            masses=mammogram.masses,
            **facts,
        )

    def about(self, bad: BadCases) -> dict[str, Any]:
        return {
            "dataset": self.name,
            **asdict(self.settings),
            "density": self.density,
            "missing_density": self.missing_density,
            "density_cuts": list(self.density_cuts),
            "published": dict(self.published or {}),
            "remark": self.remark,
            "skipped": bad.rows,
        }
