"""Pages in a headless Chromium, where one is installed."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def title(page: Path, profile: Path, width: int, *more: str) -> Any:
    """What the page's script, when it is done, has put into its title as JSON."""
    place = [f"--user-data-dir={profile}", f"--window-size={width},900"]
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, *more, *place, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(html.unescape(done.stdout.split("<title>")[1].split("</title>")[0]))
