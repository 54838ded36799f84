"""Printed commands have the form in which the program was started."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.commands import environment
from mammoseg.program import PROGRAM, program_of, shell_command
from mammoseg.schema.overrides import path_value


@pytest.mark.parametrize(
    ("argv", "program"),
    [
        (["python", "-m", "mammoseg.train", "-m", "seed=0,1"], "python -m mammoseg."),
        (["a b/python", "-B", "-m", "mammoseg.train"], "'a b/python' -B -m mammoseg."),
        (["python3", "-m", "mammoseg", "train"], "python3 -m mammoseg "),
        (["python3", ".venv/bin/mammoseg", "train", "-m", "seed=0,1"], ".venv/bin/mammoseg "),
        (["python3", "-m", "pytest", "tests"], "mammoseg "),
    ],
)
def test_the_program_is_named_as_it_was_started(argv: list[str], program: str) -> None:
    assert program_of(argv) == program


def test_a_console_script_on_the_path_is_named_without_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "mammoseg"
    script.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program_of(["python", str(script), "train"]) == "mammoseg "
    assert program_of(["python", "other/mammoseg", "train"]) == "other/mammoseg "


def test_arguments_are_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRAM, "python -m mammoseg.")
    command = shell_command("view", f"runs={path_value(Path('a b (1)'))}")
    assert shlex.split(command) == ["python", "-m", "mammoseg.view", 'runs="a b (1)"']
    monkeypatch.delenv(PROGRAM)
    assert shell_command("view", "runs=outputs/latest") == "mammoseg view runs=outputs/latest"


@pytest.mark.parametrize("form", ["module", "script"])
def test_the_examples_in_the_help_can_be_pasted(form: str, tmp_path: Path) -> None:
    script = tmp_path / "mammoseg"
    script.write_text(f"#!{sys.executable}\nfrom mammoseg.__main__ import main\n\nmain()\n")
    script.chmod(0o755)
    start = f"{shlex.quote(sys.executable)} -m mammoseg.models" if form == "module" else "mammoseg models"
    variables = {**environment(), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    def output(command: str) -> str:
        completed = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=variables, check=True)
        return completed.stdout

    example = next(line for line in output(f"{start} --help").splitlines() if "one line per model" in line)
    command, _, comment = example.strip().partition("  ")
    assert (command, comment.strip()) == (start, "one line per model")
    assert output(f"{command} --version").startswith("mammoseg ")
