"""Write the viewer of runs or of a folder of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mammoseg.cli import parse_paths
from mammoseg.errors import UserError
from mammoseg.runs.discovery import expand_latest
from mammoseg.view.from_predictions import PredictedView
from mammoseg.view.from_runs import load_run_views
from mammoseg.view.items import View
from mammoseg.view.writer import write_files


def write_viewer(cfg: Any) -> Path:
    """Write the viewer.

    Args:
        cfg: Settings as in conf/view.yaml.

    Returns:
        Path of the page.

    Raises:
        UserError: If a setting is invalid, or there is nothing to show.
    """
    if (cfg.runs is None) == (cfg.predictions is None):
        raise UserError(
            "either runs=<folder with runs> or predictions=<output folder of mammoseg.predict> is required, "
            f"got {'null for both' if cfg.runs is None else 'both'}"
        )
    views: Sequence[View]
    if cfg.runs is not None:
        folders = expand_latest(parse_paths(cfg.runs, "runs"))
        views = load_run_views(folders, optional_path(cfg.dataset.store))
    else:
        folders = [Path(str(cfg.predictions)).expanduser()]
        views = [PredictedView(folders[0], optional_path(cfg.input))]
    return write_files(views, optional_path(cfg.output) or folders[0] / "viewer")


def optional_path(path: str | None) -> Path | None:
    """Convert a setting to a Path; None if it is not set."""
    return None if path is None else Path(str(path)).expanduser()
