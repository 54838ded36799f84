"""`python -m mammoseg.predict ckpt_path=... input=... output=...`: predict masses in new mammograms."""

from __future__ import annotations

from dataclasses import fields

from omegaconf import DictConfig, ListConfig

from mammoseg.cli import command, parse_path

RENAMED = {"ckpt": "ckpt_path", "flips": "tta", "trust": "trusted_modules"}


@command("predict", renamed=RENAMED)
def main(cfg: DictConfig) -> None:
    from mammoseg.predict.pipeline import Options, predict  # lazy: --help must not wait for torch
    from mammoseg.runs.discovery import resolve_checkpoint

    options = Options(**{field.name: cfg[field.name] for field in fields(Options)})
    given = cfg.ckpt_path if isinstance(cfg.ckpt_path, ListConfig) else [cfg.ckpt_path]
    checkpoints = [resolve_checkpoint(parse_path(path, "ckpt_path")) for path in given]
    predict(checkpoints, parse_path(cfg.input, "input"), parse_path(cfg.output, "output"), options)


if __name__ == "__main__":
    main()
