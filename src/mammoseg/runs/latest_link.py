"""The link outputs/latest to the newest finished run."""

from __future__ import annotations

import logging
from pathlib import Path

from mammoseg.files import replace_link
from mammoseg.runs.folder import LATEST_LINK, RunFolder
from mammoseg.runs.record import read_record_or_skip

log = logging.getLogger(__name__)

OUTPUTS = "outputs"  # default folder of runs, with one subfolder per dataset


def link_latest(folder: RunFolder, started: str) -> None:
    """Let `outputs/latest` point to a finished run, unless it points to one that was started later.

    Runs that are not in `outputs/<dataset>/` have no link.

    Args:
        folder: Run folder.
        started: Time at which the run was started, from its record.
    """
    outputs = folder.path.absolute().parent.parent
    if outputs.name != OUTPUTS:
        return
    link = outputs / LATEST_LINK
    current = read_record_or_skip(RunFolder(link)) if link.is_dir() else None
    if current is not None and current.started > started:
        return
    try:
        replace_link(link, Path(folder.path.parent.name, folder.path.name))
    except OSError as error:
        log.warning("%s: the link to the newest run cannot be written (%s)", link, error.strerror)
