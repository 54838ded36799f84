"""conf/ as a page: every command with its settings, every group with its choices, comments and all."""

from __future__ import annotations

from pathlib import Path

COMMANDS = "Commands"
INTRODUCTION = """# Configuration

Every value lies in a yaml below `conf/`, and each is overridden on the command line: `key=value` for a value,
`group=choice` for a file, `+key=value` for a key that is not there yet. `python -m mammoseg.train --cfg job` shows what
a command line comes to, `--help` the choices. Folders of your own are added by `--config-dir` ([example](extend.md)).

This page is made of the files themselves.
"""


def write_reference(conf: Path, page: Path) -> None:
    parts = [INTRODUCTION, f"## {COMMANDS}\n"]
    parts += [entry(path, f"python -m mammoseg.{path.stem}", "###") for path in sorted(conf.glob("*.yaml"))]
    for group in sorted({path.parent for path in conf.glob("*/**/*.yaml")}):
        name = group.relative_to(conf).as_posix()
        parts.append(f"## {name}\n")
        parts += [entry(path, f"{name}={path.stem}", "###") for path in sorted(group.glob("*.yaml"))]
    page.write_text("\n".join(parts), encoding="utf-8")


def entry(path: Path, title: str, level: str) -> str:
    return f"{level} `{title}`\n\n```yaml\n{path.read_text(encoding='utf-8').rstrip()}\n```\n"
