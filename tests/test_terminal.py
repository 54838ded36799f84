"""`mammoseg.terminal`: progress reporting and suppression of messages."""

from __future__ import annotations

import logging
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch

from mammoseg import terminal
from mammoseg.terminal import Progress, configure_library_logging, suppress_logs_and_warnings


def test_progress_without_a_terminal_logs_count_rate_and_time_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 20.0, 40.0, 50.0])
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    caplog.set_level(logging.INFO, "mammoseg.terminal")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    with Progress("predicting", 100, unit="films") as progress:
        for _ in range(3):
            progress.advance(20)
    assert caplog.messages == ["predicting: 40 of 100, 1.0 films/s, 60 s left"]


def test_suppress_logs_and_warnings_restores_levels_after_an_error() -> None:
    logger = logging.getLogger("some.library")
    logger.setLevel(logging.INFO)

    def fail_quietly() -> None:
        with suppress_logs_and_warnings("some.library"):
            warnings.warn("the suite turns warnings into errors", stacklevel=1)
            assert not logger.isEnabledFor(logging.CRITICAL)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_quietly()
    assert logger.level == logging.INFO


def test_configure_library_logging_hides_known_warnings_only() -> None:
    precision = torch.get_float32_matmul_precision()
    try:
        with warnings.catch_warnings():
            configure_library_logging()
            warnings.warn("Checkpoint directory /home/me/run exists and is not empty.", stacklevel=1)
            with pytest.raises(UserWarning, match="something else"):
                warnings.warn("something else", stacklevel=1)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(precision)
