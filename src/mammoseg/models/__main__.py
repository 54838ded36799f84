"""`python -m mammoseg.models`: list the pretrained models."""

from __future__ import annotations

from omegaconf import DictConfig

from mammoseg.cli import command
from mammoseg.errors import UserError


@command("models")
def main(cfg: DictConfig) -> None:
    """Print a line for each pretrained model, or the model card of `cfg.name`; `cfg` is conf/models.yaml.

    Raises:
        UserError: If a model is damaged, after the lines of all models.
    """
    from mammoseg.pretrained.registry import NONE_INSTALLED, find_model, list_models

    models = list_models() if cfg.name is None else [find_model(cfg.name, "name")]
    if cfg.name is not None:
        if cfg.verify:
            models[0].verify()
        print(f"{models[0].folder}\n\n{models[0].card.read_text(encoding='utf-8')}", end="")
        return
    width = max((len(model.name) for model in models), default=0)
    errors = []
    for model in models:
        try:
            if cfg.verify:
                model.verify()
            print(f"{model.name:<{width}}  {model.summary()}")
        except UserError as error:
            print(f"{model.name:<{width}}  damaged")
            errors.append(error)
    if errors:
        raise errors[0]
    if not models:
        print(NONE_INSTALLED)


if __name__ == "__main__":
    main()
