"""Check random values of random settings, without importing torch; prints one JSON object.

usage: python setting_pairs.py NUMBER SEED
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mammoseg.cli import user_message
from mammoseg.conf import conf_dir
from mammoseg.errors import UserError
from mammoseg.schema.check import check_config
from mammoseg.schema.command_line import check_overrides
from mammoseg.schema.commands import SETTINGS

VALUES = ("abc", "-1", "0", "1e9", "nan", "inf", "null", "[1,2]", "{a:1}", "true", "1.5", "''")
# Required settings, so that the others are reached.
REQUIRED = {
    "evaluate": ["ckpt_path=x"],
    "predict": ["ckpt_path=x", "input=x", "output=x"],
    "export": ["ckpt_path=x", "output=x"],
    "compare": ["runs=x"],
    "sweep_report": ["runs=x"],
    "phantom": ["root=x"],
}


def leaf_names(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the names of all settings that are not sections."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from leaf_names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def all_settings() -> list[tuple[str, str]]:
    """Return all pairs of a command and one of its settings."""
    pairs = []
    for command in SETTINGS:
        config: Any = OmegaConf.to_container(compose(command, REQUIRED.get(command, [])))
        pairs += [(command, name) for name in leaf_names(config)]
    return pairs


def outcome(command: str, override: str) -> str:
    """Return "accepted", "rejected", or the name of an exception that would be printed with its traceback."""
    others = [text for text in REQUIRED.get(command, []) if text.partition("=")[0] != override.partition("=")[0]]
    try:
        check_overrides([override], [conf_dir()])
        check_config(command, compose(command, [*others, override]))
    except UserError:
        return "rejected"
    except Exception as error:
        return "rejected" if user_message(error, command) is not None else repr(error)
    return "accepted"


def main() -> None:
    """Print the outcomes of random pairs."""
    rng = random.Random(int(sys.argv[2]))
    outcomes = {}
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        settings = all_settings()
        for _ in range(int(sys.argv[1])):
            command, name = rng.choice(settings)
            override = f"{name}={rng.choice(VALUES)}"
            outcomes[f"{command} {override}"] = outcome(command, override)
    print(json.dumps({"outcomes": outcomes, "torch": "torch" in sys.modules, "settings": len(settings)}))


if __name__ == "__main__":
    main()
