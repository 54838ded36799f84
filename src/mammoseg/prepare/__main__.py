"""`python -m mammoseg.prepare`: preprocess a dataset into a store for training, and report on it."""

from __future__ import annotations

from omegaconf import DictConfig

from mammoseg.cli import command


@command("prepare")
def main(cfg: DictConfig) -> None:
    """Open or build the prepared store of `cfg.dataset`, then write and print its report."""
    from hydra.utils import instantiate

    from mammoseg.data.known_datasets import find_datasets
    from mammoseg.prepare import data_report
    from mammoseg.schema.check import plain_config

    dataset = instantiate(cfg.dataset)
    store = dataset.open_store()
    print(f"{dataset.name}: {len(store.cases)} images, {len(store.skipped)} skipped")
    data_report.print_data_report(data_report.write_data_report(store, find_datasets(plain_config(cfg))), store.folder)


if __name__ == "__main__":
    main()
