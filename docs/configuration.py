"""Generates reference pages from the source: conf/, the files of a run folder, and the roles of settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mammoseg.runs import settings
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.settings import Role
from mammoseg.schema.collection_types import Section
from mammoseg.schema.commands import SETTINGS
from mammoseg.schema.parts import PARTS
from mammoseg.schema.types import SettingType

COMMANDS = "Commands"
VALUES = "Valid values"
VALUES_INTRODUCTION = """All settings are checked before a command starts. An argument of a `_target_` that is not
listed here is checked against the annotations of the class or function.
"""
INTRODUCTION = """# Configuration

Every setting has its default in a YAML file in `conf/` and can be overridden on the command line: `key=value` sets a
value, `group=choice` selects a file, and `+key=value` adds an argument of a class that its file does not list. Unknown
settings and invalid values are rejected before a command starts; [Valid values](#valid-values) lists type and range of
each setting.
`python -m mammoseg.train --help` lists the choices; `python -m mammoseg.train ... --cfg job` prints the resulting
configuration without running it. `--config-dir` adds a folder with your own YAML files ([example](extend.md)).

This page is generated from these files.
"""
MEANINGS = {
    Role.METHOD: "what is trained and how; runs that differ are different methods",
    Role.REPLICATE: "repetitions of one method",
    Role.COMPUTE: "how a run is computed; results agree up to rounding",
    Role.PRIVATE: "paths and accounts; never written to checkpoints, `run.json`, loggers or reports",
}


def write_reference(conf: Path, page: Path) -> None:
    """Write configuration.md, which shows every YAML file in `conf`."""
    parts = [INTRODUCTION, f"## {COMMANDS}\n"]
    parts += [entry(path, f"python -m mammoseg.{path.stem}", "###") for path in sorted(conf.glob("*.yaml"))]
    for group in sorted({path.parent for path in conf.glob("*/**/*.yaml")}):
        name = group.relative_to(conf).as_posix()
        parts.append(f"## {name}\n")
        parts += [entry(path, f"{name}={path.stem}", "###") for path in sorted(group.glob("*.yaml"))]
    parts += [f"## {VALUES}\n", VALUES_INTRODUCTION]
    parts += [values_of_command(command) for command in SETTINGS]
    parts += [values_of_part(target, part.arguments) for target, part in sorted(PARTS.items()) if part.arguments]
    page.write_text("\n".join(parts), encoding="utf-8")


def values_of_command(command: str) -> str:
    """Return a table of the settings of a command and their valid values."""
    return value_table(f"python -m mammoseg.{command}", dict(flatten_settings(SETTINGS[command])))


def values_of_part(target: str, arguments: Mapping[str, SettingType]) -> str:
    """Return a table of the arguments of a target and their valid values."""
    return value_table(f"_target_: {target}", arguments)


def value_table(title: str, types: Mapping[str, SettingType]) -> str:
    """Return a section with a table of settings and valid values."""
    rows = [f"| `{name}` | {kind.description} |" for name, kind in types.items()]
    return "\n".join([f"### `{title}`\n", "| setting | value |", "|---|---|", *rows, ""])


def flatten_settings(settings_: Mapping[str, SettingType], prefix: str = "") -> Iterator[tuple[str, SettingType]]:
    """Yield the full name and the type of each setting."""
    for name, kind in settings_.items():
        if isinstance(kind, Section):
            yield from flatten_settings(kind.settings, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind


def entry(path: Path, title: str, level: str) -> str:
    """Return the section of a YAML file."""
    return f"{level} `{title}`\n\n```yaml\n{path.read_text(encoding='utf-8').rstrip()}\n```\n"


def write_run_tables(folder: Path) -> None:
    """Write run_files.md and setting_roles.md, which docs/runs.md includes."""
    folder.mkdir(exist_ok=True)
    files = [f"| `{file.name}` | {file.meaning} |" for file in RunFolder.files()]
    (folder / "run_files.md").write_text("\n".join(["| file | content |", "|---|---|", *files, ""]), encoding="utf-8")
    rows = [f"| {role.value} | {MEANINGS[role]} | {settings_of(role)} |" for role in Role]
    table = ["| role | meaning | settings |", "|---|---|---|", *rows, ""]
    (folder / "setting_roles.md").write_text("\n".join(table), encoding="utf-8")


def settings_of(role: Role) -> str:
    """Return the settings of a role as Markdown."""
    listed = ", ".join(f"`{key}`" for key, key_role in settings.ROLES.items() if key_role is role)
    if role is not Role.METHOD:
        return listed
    sections = ", ".join(f"`{section}.*`" for section in settings.METHOD_SECTIONS)
    return f"everything that is not listed in another role: {sections}, {listed}"
