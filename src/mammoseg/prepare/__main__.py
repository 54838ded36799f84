"""`python -m mammoseg.prepare`: preprocess a dataset into a store for training, and report on it; download it first."""

from __future__ import annotations

from omegaconf import DictConfig

from mammoseg.cli import command


@command("prepare")
def main(cfg: DictConfig) -> None:
    """Download `cfg.dataset` on request, open or build its prepared store, then write and print its report."""
    from hydra.utils import instantiate

    from mammoseg.data.known_datasets import find_datasets
    from mammoseg.prepare import data_report
    from mammoseg.prepare.download import download_dataset
    from mammoseg.schema.check import plain_config

    if cfg.download:
        download_dataset(cfg.dataset)
    dataset = instantiate(cfg.dataset)
    store = dataset.open_store()
    print(f"{dataset.name}: {len(store.cases)} images, {len(store.skipped)} skipped")
    data_report.print_data_report(data_report.write_data_report(store, find_datasets(plain_config(cfg))), store.folder)


if __name__ == "__main__":
    main()
