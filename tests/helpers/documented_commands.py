"""The commands in the fenced blocks of a Markdown page, as a shell would run them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMAND_LANGUAGES = ("", "console")  # other blocks, such as ```text, contain output, tables or code
FENCE = re.compile(r"\s*```(.*)")
ASSIGNMENT = re.compile(r"([A-Z_]+)=(.*)", re.DOTALL)
PROGRAMS = (re.compile(r"python -m mammoseg\.(\w+)(?= |$)"), re.compile(r"mammoseg (\w+)(?= |$)"))
runs_documentation = pytest.mark.skipif(
    "DOCUMENTED_COMMANDS" not in os.environ, reason="takes minutes; `make test-docs` sets DOCUMENTED_COMMANDS=1"
)


@dataclass(frozen=True)
class Command:
    """One command of a page.

    Attributes:
        page: Name of the page, such as "data.md".
        line: Line number.
        text: The command without prompt, line breaks, comment and shell variables.
    """

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"

    @property
    def words(self) -> list[str]:
        """The words of the command, without their quotes."""
        return shlex.split(self.text)

    @property
    def name(self) -> str | None:
        """Name of the command of mammoseg, such as "train"; None for another program."""
        matches = [match for program in PROGRAMS if (match := program.match(self.text))]
        return matches[0][1] if matches else None

    @property
    def arguments(self) -> list[str]:
        """Arguments of a command of mammoseg."""
        return self.words[3:] if self.words[0] == "python" else self.words[2:]


def read_commands(page: Path) -> list[Command]:
    """Return the commands of a page in their order.

    A block of commands has no language or the language `console`; each of its lines is a command, a part of one, a
    comment or an assignment of a shell variable, which is expanded in the following commands of the block. A variable
    before a command, which sets its environment, is ignored.

    Raises:
        KeyError: If a command uses a shell variable that is not assigned in its block.
    """
    commands = []
    for block in _blocks(page.read_text(encoding="utf-8")):
        variables = {"PWD": "."}  # set by the shell
        for line, text in _joined(block):
            words = shlex.split(_expanded(text, variables), comments=True)
            if words and (match := ASSIGNMENT.fullmatch(words[0])):
                variables |= {match[1]: match[2]} if len(words) == 1 else {}
                words = words[1:]
            if words:
                commands.append(Command(page.name, line, shlex.join(words)))
    return commands


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda match: variables[match[1]], text)


def _blocks(text: str) -> Iterator[list[tuple[int, str]]]:
    """Yield the lines of each block of commands, with their numbers."""
    language: str | None = None
    block: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fence = FENCE.fullmatch(line)
        if fence is None:
            block.append((number, line))
        elif language is None:
            language, block = fence[1].strip(), []
        else:
            if language in COMMAND_LANGUAGES:
                yield block
            language = None


def _joined(block: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield logical lines: without prompts, and joined where they end with a backslash."""
    start, text = 0, ""
    for number, line in block:
        start = start or number
        text += line.removeprefix("$ ")
        if text.endswith("\\"):
            text = text.removesuffix("\\")
            continue
        yield start, text
        start, text = 0, ""
