"""Sphinx: `make docs` writes docs/_build/html. The configuration reference is made of conf/ each time."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from configuration import write_reference  # noqa: E402 - lies beside this file

project = "mammoseg"
author = "the mammoseg developers"
extensions = ["myst_parser"]
exclude_patterns = ["_build", "results"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "mammoseg"
html_show_sourcelink = False
html_show_copyright = False
# Links to files of the repository that are no pages.
suppress_warnings = ["myst.xref_missing"]

write_reference(HERE.parent / "conf", HERE / "configuration.md")
