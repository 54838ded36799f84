"""Tests of interruptions and searches that only `make fuzz` runs.

`make test` leaves them out, since it has to end within 15 minutes on two cores.
"""

from __future__ import annotations

import os

import pytest

ALL_KILL_POINTS = bool(os.environ.get("ALL_KILL_POINTS"))
runs_kill_points = pytest.mark.skipif(
    not ALL_KILL_POINTS, reason="takes half a minute; `make fuzz` sets ALL_KILL_POINTS=1"
)
