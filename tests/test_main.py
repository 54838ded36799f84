"""`mammoseg <command>`."""

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


def test_every_command_is_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(program.COMMANDS) == {path.parent.name for path in PACKAGE.glob("*/__main__.py")}
    for arguments in ([], ["--help"]):
        run(monkeypatch, *arguments)
        shown = capsys.readouterr().out
        assert all(f"\n  {name} " in shown for name in program.COMMANDS)


def test_the_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "--version")
    assert capsys.readouterr().out == f"mammoseg {mammoseg.__version__}\n"


def test_a_misspelt_command_is_answered_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "trian")
    assert ended.value.code == 2
    assert "did you mean train?" in capsys.readouterr().err


def test_a_command_gets_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("mammoseg.train.__main__.main", lambda: seen.append(sys.argv))
    run(monkeypatch, "train", "epochs=1", "--help")
    assert seen == [["mammoseg train", "epochs=1", "--help"]]
