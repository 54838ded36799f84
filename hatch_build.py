"""Build hook that adds conf/ to the wheel as mammoseg/conf.

Editable installs are skipped, since they read conf/ from the repository; a static `force-include` would copy it.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ConfHook(BuildHookInterface):
    """Hatchling's build hook for wheels."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add conf/ to `build_data` of a standard wheel."""
        if version == "standard":
            build_data["force_include"][str(Path(self.root, "conf"))] = "mammoseg/conf"
