"""A signal is handed on to who asked for it first, and to Slurm where nobody did."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from mammoseg.callbacks import preemption
from mammoseg.launch import signals


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scontrol that says that the job was preempted, and writes down what it is asked."""
    asked = tmp_path / "asked"
    script = tmp_path / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" >> {asked}\necho JobId=7 JobState=${{STATE:-PREEMPTED}}\n')
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    return asked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_plain_slurm_job_is_queued_again(slurm: Path, number: signal.Signals) -> None:
    signals.forward_signal(number, signal.SIG_DFL)
    assert "requeue 7" in slurm.read_text()


def test_a_cancelled_job_is_not(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE", "CANCELLED")
    signals.forward_signal(signal.SIGTERM, signal.SIG_DFL)
    assert "requeue" not in slurm.read_text()


def test_a_handler_that_was_there_is_called_instead(slurm: Path, tmp_path: Path) -> None:
    heard: list[int] = []
    callback = preemption.PreemptionCallback(tmp_path / "last.ckpt")
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        callback.setup(None, None, "fit")  # type: ignore[arg-type]
        signal.signal(signal.SIGTERM, lambda number, frame: None)  # Lightning's own, put in front of it
        callback.received = signal.SIGTERM
        with pytest.raises(signals.GracefulExit):
            callback._stop(epoch=1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert not slurm.exists()
