"""`python -m mammoseg.view runs=...`: a page to go through a model's predictions, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, ListConfig

from mammoseg.cli import command
from mammoseg.errors import UserError

if TYPE_CHECKING:
    from mammoseg.viewer.views import View


@command("view")
def main(cfg: DictConfig) -> None:
    if (cfg.runs is None) == (cfg.predictions is None):
        raise UserError(
            "say what to look at, either runs=<a run's folder, or one that holds several>, "
            "or predictions=<a folder that mammoseg.predict wrote>"
        )
    if cfg.runs is not None:
        from mammoseg.viewer.runs import look  # heavy imports here: --help must not wait for torch

        named = cfg.runs if isinstance(cfg.runs, ListConfig) else [cfg.runs]
        folders = [Path(str(folder)).expanduser() for folder in named]
        views: Sequence[View] = look(folders, None if cfg.store is None else Path(cfg.store).expanduser())
    else:
        from mammoseg.viewer.predicted import PredictedView

        folders = [Path(cfg.predictions).expanduser()]
        views = [PredictedView(folders[0], None if cfg.input is None else Path(cfg.input).expanduser())]
    from mammoseg.viewer.write import write

    page = write(views, folders[0] / "viewer" if cfg.out is None else Path(cfg.out).expanduser())
    print(f"written to {page}; open it in a browser, no server is needed")
    if cfg.open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


if __name__ == "__main__":
    main()
