"""`python -m mammoseg.fit_density`: fit the model that estimates the breast density to images with known densities."""

from __future__ import annotations

from omegaconf import DictConfig

from mammoseg.cli import command, parse_path


@command("fit_density")
def main(cfg: DictConfig) -> None:
    """Fit a density model to the training images of `cfg.dataset`, write it, and print its agreement."""
    from hydra.utils import instantiate

    from mammoseg.fit_density.fit import fit_dataset, format_agreement

    output = parse_path(cfg.output, "output")
    dataset = instantiate(cfg.dataset)
    model, reports = fit_dataset(dataset, cfg.cuts_only)
    model.write(output)
    print(f"{output}: {model.about}")
    for report in reports:
        print(format_agreement(report))


if __name__ == "__main__":
    main()
