"""`python -m mammoseg.prepare`: read a dataset and write its prepared store, which train then opens at once."""

from __future__ import annotations

from collections import Counter

from omegaconf import DictConfig

from mammoseg.cli import command


@command("prepare")
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    dataset = instantiate(cfg.dataset)
    store = dataset.prepared()
    densities = Counter(case.density for case in store.cases)
    print(
        f"{dataset.name}: {len(store.cases)} images, {sum(case.masses for case in store.cases)} masses, "
        f"{len({case.patient for case in store.cases})} patients, "
        f"density {' '.join(f'{category}:{densities[category]}' for category in sorted(densities))}; "
        f"{len(store.skipped)} left out; mass is {100 * store.masks.mean():.2f} % of the pixels"
    )
    print(f"store: {store.folder}")


if __name__ == "__main__":
    main()
