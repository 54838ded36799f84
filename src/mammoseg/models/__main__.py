"""`python -m mammoseg.models`: list the pretrained models."""

from __future__ import annotations

from omegaconf import DictConfig

from mammoseg.cli import command


@command("models")
def main(cfg: DictConfig) -> None:
    """Print a line for each pretrained model, or the model card of `cfg.name`; `cfg` is conf/models.yaml."""
    from mammoseg.pretrained.registry import NONE_INSTALLED, find_model, list_models

    models = list_models() if cfg.name is None else [find_model(cfg.name, "name")]
    if cfg.verify:
        for model in models:
            model.verify()
    if cfg.name is not None:
        print(f"{models[0].folder}\n\n{models[0].card.read_text(encoding='utf-8')}", end="")
        return
    width = max((len(model.name) for model in models), default=0)
    for model in models:
        print(f"{model.name:<{width}}  {model.summary()}")
    if not models:
        print(NONE_INSTALLED)


if __name__ == "__main__":
    main()
