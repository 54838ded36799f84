"""One thread per process, so that values do not depend on the number of cores, and the markers `fast` and `slow`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

TESTS = Path(__file__).parent
# Folders and modules that run commands, train networks or take many seconds; all other tests are fast.
SLOW = (
    *("integration", "slurm", "fuzz"),
    *("contracts/test_training_choices.py", "test_cli.py", "test_docs.py", "view/test_page.py"),
)


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test as fast or slow."""
    slow = [TESTS / name for name in SLOW]
    for item in items:
        is_slow = item.get_closest_marker("slow") or any(item.path.is_relative_to(path) for path in slow)
        item.add_marker("slow" if is_slow else "fast")
