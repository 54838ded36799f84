"""`python -m mammoseg.prepare`: read a dataset, write the store that train then opens at once, and report on it."""

from __future__ import annotations

from omegaconf import DictConfig

from mammoseg.cli import command
from mammoseg.runs.upgrade import RENAMED_DATASET_SETTINGS


@command("prepare", renamed=RENAMED_DATASET_SETTINGS)
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from mammoseg.prepare import data_report as data_report

    dataset = instantiate(cfg.dataset)
    store = dataset.open_store()
    print(f"{dataset.name}: {len(store.cases)} images, {len(store.skipped)} skipped")
    data_report.show(data_report.write(store), store.folder)


if __name__ == "__main__":
    main()
