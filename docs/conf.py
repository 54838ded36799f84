"""Sphinx configuration: `make docs` writes docs/_build/html.

The page of settings and the tables of runs.md are generated on every build.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

from configuration import update_run_tables, write_reference  # noqa: E402 - in this folder

project = "mammoseg"
author = "the mammoseg developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
exclude_patterns = ["_build", "results"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "mammoseg"
html_show_sourcelink = False
html_show_copyright = False

write_reference(HERE.parent / "conf", HERE / "configuration.md")
update_run_tables(HERE / "runs.md")
