"""From what the user wants to see to the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mammoseg.cli import parse_paths
from mammoseg.errors import UserError
from mammoseg.runs.discovery import expand_latest
from mammoseg.view.from_predictions import PredictedView
from mammoseg.view.from_runs import look
from mammoseg.view.items import View
from mammoseg.view.writer import write


def write_viewer(cfg: Any) -> Path:
    """Write the viewer that `cfg`, conf/view.yaml, asks for, and return its page.

    Raises UserError where there is nothing to see, or nowhere to put it.
    """
    if (cfg.runs is None) == (cfg.predictions is None):
        raise UserError(
            "say what to look at: either runs=<a run's folder, or one that holds several>, "
            "or predictions=<a folder that mammoseg.predict wrote>"
        )
    views: Sequence[View]
    if cfg.runs is not None:
        folders = expand_latest(parse_paths(cfg.runs, "runs"))
        views = look(folders, optional(cfg.dataset.store))
    else:
        folders = [Path(str(cfg.predictions)).expanduser()]
        views = [PredictedView(folders[0], optional(cfg.input))]
    return write(views, optional(cfg.output) or folders[0] / "viewer")


def optional(path: str | None) -> Path | None:
    return None if path is None else Path(str(path)).expanduser()
