"""The prepared images that a run was tested on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from omegaconf import OmegaConf

from mammoseg.data.store import PreparedStore
from mammoseg.runs.results import COUNTS, Row


def find_store(places: Iterable[Path], dataset: str, rows: Sequence[Row]) -> PreparedStore | None:
    """The store below one of `places` whose masks are those that `rows`, a run's results, were counted on."""
    for folder in (path for here in places for path in sorted(here.glob(f"{dataset}-*/"))):
        store = PreparedStore.open(folder)
        pixels = store.masks.shape[1] ** 2
        masses = {case.case: case.mass_pixels for case in store.cases}
        if all(masses.get(row["case"]) == row["tp"] + row["fn"] for row in rows) and pixels == total(rows[0]):
            return store
    return None


def total(row: Row) -> int:
    return int(sum(row[name] for name in COUNTS))


def said_by(folder: Path) -> Path | None:
    """Where the config of the run in `folder`, which stays on this machine, keeps prepared images.

    `folder` may also be one that mammoseg.evaluate wrote, which names a checkpoint of a run.
    """
    composed, hydra = (folder / ".hydra" / name for name in ("config.yaml", "hydra.yaml"))
    if not composed.is_file() or not hydra.is_file():
        return None
    began_in = Path(OmegaConf.select(OmegaConf.load(hydra), "hydra.runtime.cwd"))
    config = OmegaConf.load(composed)
    store = OmegaConf.select(config, "dataset.store") or OmegaConf.select(config, "store")
    if store is None and (ckpt := OmegaConf.select(config, "ckpt")) is not None:
        trained = (began_in / Path(ckpt).expanduser()).parent.parent / ".hydra" / "config.yaml"
        store = OmegaConf.select(OmegaConf.load(trained), "dataset.store") if trained.is_file() else None
    return began_in / Path(store or "data/prepared").expanduser()
