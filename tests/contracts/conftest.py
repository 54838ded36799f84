"""Data that the contract tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the synthetic dataset is prepared on first use."""
    return tmp_path_factory.mktemp("data")
