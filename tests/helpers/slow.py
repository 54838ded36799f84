"""Tests that `make test` leaves out because they take long."""

from __future__ import annotations

import os

import pytest

ALL_KILL_POINTS = bool(os.environ.get("ALL_KILL_POINTS"))
only_with_all_kill_points = pytest.mark.skipif(
    not ALL_KILL_POINTS, reason="takes half a minute; `make fuzz` sets ALL_KILL_POINTS=1"
)
