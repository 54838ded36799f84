"""The command-line program `mammoseg`: help, version and dispatch to the commands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import mammoseg
from mammoseg import __main__ as program

PACKAGE = Path(mammoseg.__file__).parent


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["mammoseg", *arguments])
    program.main()


def test_help_lists_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(program.COMMANDS) == {path.parent.name for path in PACKAGE.glob("*/__main__.py")}
    for arguments in ([], ["--help"]):
        run(monkeypatch, *arguments)
        output = capsys.readouterr().out
        assert all(f"\n  {name} " in output for name in program.COMMANDS)


def test_version_option_prints_the_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "--version")
    assert capsys.readouterr().out == f"mammoseg {mammoseg.__version__}\n"


def test_misspelt_command_exits_with_a_suggestion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        run(monkeypatch, "trian")
    assert raised.value.code == 2
    assert "did you mean train?" in capsys.readouterr().err


def test_command_receives_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    received = []
    monkeypatch.setattr("mammoseg.train.__main__.main", lambda: received.append(sys.argv))
    run(monkeypatch, "train", "epochs=1", "--help")
    assert received == [["mammoseg train", "epochs=1", "--help"]]
