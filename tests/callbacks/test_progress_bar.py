"""Progress bar and epoch summary on a terminal: the log stays readable, and the bar shows loss and validation DSC."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
from rich.console import Console
from torch.utils.data import DataLoader

from helpers.tiny_training import make_batches, make_segmenter
from mammoseg import terminal
from mammoseg.callbacks import epoch_summary, progress_bar
from mammoseg.callbacks.epoch_summary import EpochSummary
from mammoseg.callbacks.progress_bar import TrainingProgressBar
from mammoseg.terminal import ConsoleHandler

EPOCH_LINE = re.compile(
    r"INFO epoch (\d)/2  train loss \d\.\d{4}  val loss \d\.\d{4}  val DSC (\d+\.\d\d) %"
    r"  val sensitivity \d+\.\d\d %  \d s(?:  about \d+ s left)?"
)


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def screen(text: str) -> list[str]:
    """Return the lines that a terminal shows after it has received a text; trailing blanks are removed."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif found := re.fullmatch(r"\x1b\[(\d+)A", part):
            row -= int(found[1])
        elif part != "\r" and not part.startswith("\x1b"):
            lines[row] = part  # rich rewrites whole lines
    return [line.rstrip() for line in lines if line.strip()]


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal to which log messages and progress bars are written."""
    stream = Terminal()
    console = Console(file=stream, force_terminal=True, width=160, color_system=None)
    for module in (terminal, progress_bar):
        monkeypatch.setattr(module, "console", lambda: console)
    handler = ConsoleHandler(logging.StreamHandler(stream))
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("mammoseg.callbacks")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


def fit(*callbacks: lightning.Callback) -> lightning.Trainer:
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    train: Any = DataLoader(make_batches(3), batch_size=None)  # type: ignore[arg-type]
    val: Any = DataLoader(make_batches(1), batch_size=None)  # type: ignore[arg-type]
    trainer.fit(make_segmenter(), train, val)
    return trainer


def test_log_messages_and_the_bar_do_not_overwrite_each_other(
    stream: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_bar, "LOSS_INTERVAL_S", 0.0)
    trainer = fit(TrainingProgressBar(), EpochSummary())
    shown = stream.getvalue()
    lines = screen(shown)
    matches = [EPOCH_LINE.fullmatch(line) for line in lines]
    assert [match and match[1] for match in matches] == ["1", "2"], lines
    dsc = f"{100 * float(trainer.callback_metrics['val/dsc']):.2f}"
    assert matches[1] is not None
    assert matches[1][2] == dsc
    assert "epoch 1/2" in shown
    assert "epoch 0" not in shown
    assert re.search(r"epoch 2/2 .*loss \d\.\d{4}  val DSC \d+\.\d\d %", shown)


def test_the_bar_is_removed_after_an_error(stream: Terminal) -> None:
    class Failing(lightning.Callback):
        def on_train_batch_end(self, *_: object) -> None:
            raise RuntimeError("failure in a callback")

    bar = TrainingProgressBar()
    with pytest.raises(RuntimeError, match="failure in a callback"):
        fit(bar, Failing())
    assert bar.bar is None
    assert screen(stream.getvalue()) == []


def test_the_remaining_time_is_that_of_the_epochs_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(epoch_summary, "time", SimpleNamespace(monotonic=lambda: clock.now))
    messages: list[str] = []
    monkeypatch.setattr(epoch_summary.log, "info", lambda message, *values: messages.append(message % values))
    summary = EpochSummary()
    trainer = SimpleNamespace(callback_metrics={"val/dsc": 0.5}, max_epochs=5, current_epoch=0)
    for epoch, seconds in enumerate([100.0, 10.0, 20.0, 30.0, 40.0]):
        trainer.current_epoch = epoch
        summary.on_train_epoch_start(trainer, None)  # type: ignore[arg-type]
        clock.now += seconds
        summary.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    left = [message.partition(" s  about ")[2] for message in messages]
    assert left == ["7 min left", "30 s left", "30 s left", "20 s left", ""]
    assert "val DSC 50.00 %" in messages[0]
    assert "val loss nan" in messages[0]
