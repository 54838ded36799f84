"""`python -m mammoseg.predict input=...`: predict masses in new mammograms."""

from __future__ import annotations

import logging
from dataclasses import fields

from omegaconf import DictConfig

from mammoseg.cli import command, parse_path, parse_paths

log = logging.getLogger(__name__)


@command("predict")
def main(cfg: DictConfig) -> None:
    """Predict the images in `cfg.input` with the ensemble of the checkpoints; `cfg` is conf/predict.yaml."""
    from mammoseg.predict.options import PredictOptions
    from mammoseg.predict.pipeline import predict  # lazy: --help must not wait for torch
    from mammoseg.pretrained.registry import default_model
    from mammoseg.runs.checkpoint_paths import find_checkpoints

    settings = {field.name: cfg[field.name] for field in fields(PredictOptions)}
    exams = None if cfg.exams is None else parse_path(cfg.exams, "exams")
    options = PredictOptions(**{**settings, "exams": exams})
    if cfg.ckpt_path is None:
        model = default_model("ckpt_path")
        checkpoints = [model.weights]
        log.info("ckpt_path is not set; using the default pretrained model %s", model.name)
    else:
        checkpoints = find_checkpoints(parse_paths(cfg.ckpt_path, "ckpt_path"))
    predict(checkpoints, parse_path(cfg.input, "input"), parse_path(cfg.output, "output"), options)


if __name__ == "__main__":
    main()
