"""No value of any setting ends in a traceback.

`make test` checks 100 random pairs of a setting and a value, and `make fuzz` 2000 (or SETTING_PAIRS=...).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PAIRS = int(os.environ.get("SETTING_PAIRS", "100"))


def test_invalid_values_are_rejected_in_one_sentence() -> None:
    """Runs in a subprocess to show that the check does not import torch."""
    script = Path(__file__).with_name("setting_pairs.py")
    done = subprocess.run(
        [sys.executable, str(script), str(PAIRS), "0"], capture_output=True, text=True, timeout=3600, check=True
    )
    result = json.loads(done.stdout)
    outcomes = result["outcomes"]
    failures = {pair: outcome for pair, outcome in outcomes.items() if outcome not in ("accepted", "rejected")}
    assert failures == {}
    assert not result["torch"]
    assert result["settings"] > 200
    assert sum(outcome == "rejected" for outcome in outcomes.values()) > PAIRS / 2


@pytest.mark.parametrize(
    ("command", "override"),
    [
        *(("train", text) for text in ("epochs=abc", "width=abc", "seed=-1", "num_workers=-1", "batch_size=2.5")),
        *(("train", text) for text in ("lr_decay_epochs=abc", "trainer.precision=64-true", "lr=nan", "patience=-1")),
        *(("train", text) for text in ("channels_last=nan", "split.seed=null", "+epoch=50", "epoch=3", "loss.beta=-1")),
        *(("train", text) for text in ("model=swin_unetr dataset.size=48", "datset=inbreast", "lr=[", "-m seed=0,-1")),
        *(("prepare", text) for text in ("dataset.crop=abc", "dataset.workers=nan", "dataset.root=null")),
        ("phantom", "root=x cases=abc"),
        ("predict", ""),
        ("evaluate", "ckpt_path=x native=abc"),
        ("compare", "runs=x level=2"),
        ("dashboard", "mode=abc"),
    ],
)
def test_command_exits_with_status_2_and_writes_nothing(command: str, override: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"mammoseg.{command}", *override.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"mammoseg {command}: ")
    assert list(tmp_path.iterdir()) == []
