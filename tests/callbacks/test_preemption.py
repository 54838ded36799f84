"""After a signal, the previously installed handler is called; without one, the Slurm job is requeued."""

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
    """A fake scontrol that reports the job as preempted and records its arguments."""
    calls = tmp_path / "calls"
    script = tmp_path / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" >> {calls}\necho JobId=7 JobState=${{STATE:-PREEMPTED}}\n')
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    return calls


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
def test_a_preempted_slurm_job_is_requeued(slurm: Path, signum: signal.Signals) -> None:
    signals.forward_signal(signum, signal.SIG_DFL)
    assert "requeue 7" in slurm.read_text()


def test_a_cancelled_job_is_not_requeued(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE", "CANCELLED")
    signals.forward_signal(signal.SIGTERM, signal.SIG_DFL)
    assert "requeue" not in slurm.read_text()


def test_an_installed_handler_is_called_instead_of_requeueing(slurm: Path, tmp_path: Path) -> None:
    received: list[int] = []
    callback = preemption.PreemptionCallback(tmp_path / "last.ckpt")
    previous = signal.signal(signal.SIGTERM, lambda signum, frame: received.append(signum))
    try:
        callback.setup(None, None, "fit")  # type: ignore[arg-type]
        signal.signal(signal.SIGTERM, lambda signum, frame: None)  # as Lightning does after `setup`
        callback.received = signal.SIGTERM
        with pytest.raises(signals.GracefulExit):
            callback._stop(epoch=1)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert received == [signal.SIGTERM]
    assert not slurm.exists()
