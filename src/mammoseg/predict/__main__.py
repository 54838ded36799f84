"""`python -m mammoseg.predict ckpt=... input=... output=...`: a checkpoint, or several, on anybody's mammograms."""

from __future__ import annotations

from dataclasses import fields

from omegaconf import DictConfig, ListConfig

from mammoseg.cli import command, place


@command("predict")
def main(cfg: DictConfig) -> None:
    from mammoseg.predict.pipeline import Options, predict  # heavy imports here: --help must not wait for torch

    options = Options(**{field.name: cfg[field.name] for field in fields(Options)})
    given = cfg.ckpt if isinstance(cfg.ckpt, ListConfig) else [cfg.ckpt]
    checkpoints = [place(path, "ckpt") for path in given]
    predict(checkpoints, place(cfg.input, "input"), place(cfg.output, "output"), options)


if __name__ == "__main__":
    main()
