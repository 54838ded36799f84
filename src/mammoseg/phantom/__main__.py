"""`python -m mammoseg.phantom layout=inbreast root=... cases=...`: synthetic mammograms in a real dataset's layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from omegaconf import DictConfig

from mammoseg.cli import command, parse_path


@command("phantom")
def main(cfg: DictConfig) -> None:
    """Write synthetic mammograms in the layout of a real dataset, and print their counts."""
    from mammoseg.phantom.cbis_ddsm import LAYOUTS, write_cbis_ddsm
    from mammoseg.phantom.write import write_inbreast

    layouts: dict[str, Callable[..., Sequence[Any]]] = {
        "inbreast": write_inbreast,
        "cbis_ddsm": write_cbis_ddsm,
        **{f"cbis_ddsm_{name}": partial(write_cbis_ddsm, layout=name) for name in LAYOUTS if name != "tcia"},
    }
    root = parse_path(cfg.root, "root")
    specs = layouts[cfg.layout](root, cases=cfg.cases, seed=cfg.seed, height=cfg.height, appearance=cfg.appearance)
    with_mass = [spec for spec in specs if spec.masses]
    counts = Counter(spec.density for spec in with_mass)
    print(
        f"{root}: {len(specs)} images, {len(with_mass)} of them with {sum(spec.masses for spec in specs)} masses, "
        f"{len({spec.patient for spec in specs})} patients, density "
        + " ".join(f"{category}:{counts[category]}" for category in sorted(counts))
    )


if __name__ == "__main__":
    main()
