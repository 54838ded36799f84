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
from mammoseg.schema.settings_file import Setting, SettingsFile
from mammoseg.schema.types import SettingType

COMMANDS = "Commands"
UNLISTED = ("defaults", "hydra")  # sections of a command that are not its settings
MAX_DEFAULT = 60  # characters of a default in a table
INTRODUCTION = """# Configuration

Every setting has its default in a YAML file in `conf/` and can be overridden on the command line: `key=value` sets a
value, `group=choice` selects a file, and `+key=value` adds an argument of a class that its file does not list. All
settings are checked before a command starts: unknown settings and invalid values are rejected. Arguments without a
description of the values below are checked against the annotations of their class or function.
`python -m mammoseg.train --help` lists the choices; `python -m mammoseg.train ... --cfg job` prints the resulting
configuration without running it. `--config-dir` adds a folder with your own YAML files ([example](extend.md)).

This page is generated from these files and from the checks of the settings.
"""
PACKAGES = {"preprocessing": "dataset"}  # section of the config, if it has another name than the group
RECIPES = ("experiment", "hydra", "method", "published", "sweep")  # groups that combine other choices, shown as YAML
MEANINGS = {
    Role.METHOD: "what is trained and how; runs that differ are different methods",
    Role.REPLICATE: "repetitions of one method",
    Role.COMPUTE: "how a run is computed; results agree up to rounding",
    Role.PRIVATE: "paths and accounts; never written to checkpoints, `run.json`, loggers or reports",
}


def write_reference(conf: Path, page: Path) -> None:
    """Write configuration.md: the settings of every YAML file in `conf` with default, valid values and meaning."""
    parts = [INTRODUCTION, f"## {COMMANDS}\n"]
    parts += [command_entry(path) for path in sorted(conf.glob("*.yaml"))]
    for group in sorted({path.parent for path in conf.glob("*/**/*.yaml")}):
        name = group.relative_to(conf).as_posix()
        parts.append(f"## {name}\n")
        parts += [choice_entry(path, name) for path in sorted(group.glob("*.yaml"))]
    page.write_text("\n".join(parts), encoding="utf-8")


def command_entry(path: Path) -> str:
    """Return the section of a command."""
    file = SettingsFile(path)
    listed = [setting for setting in file.settings if setting.name.split(".")[0] not in UNLISTED]
    values = {name: kind.description for name, kind in flatten_settings(SETTINGS.get(path.stem, {}))}
    return section(f"python -m mammoseg.{path.stem}", file, setting_table(listed, "", values))


def choice_entry(path: Path, group: str) -> str:
    """Return the section of a choice of a config group."""
    file, title = SettingsFile(path), f"{group}={path.stem}"
    if group.split("/")[0] in RECIPES:
        return f"### `{title}`\n\n```yaml\n{file.text.rstrip()}\n```\n"
    prefix = "" if file.is_global else f"{PACKAGES.get(group, group)}."
    of_command = {name: kind.description for name, kind in flatten_settings(SETTINGS["train"])}
    values = {}
    for setting in file.settings:
        known = PARTS[setting.target].arguments.get(setting.argument) if setting.target in PARTS else None
        values[setting.name] = known.description if known else of_command.get(f"{prefix}{setting.name}", "")
    return section(title, file, setting_table(file.settings, prefix, values))


def section(title: str, file: SettingsFile, table: str) -> str:
    """Return a section with the description, the targets and the table of settings of a file."""
    parts = [f"### `{title}`", "", file.description, ""]
    if file.commands:
        parts += ["```", *file.commands, "```", ""]
    if file.targets:
        parts += ["`_target_`: " + ", ".join(f"`{target}`" for target in dict.fromkeys(file.targets)), ""]
    return "\n".join([*parts, *([table, ""] if file.settings else [])])


def setting_table(settings: list[Setting], prefix: str, values: dict[str, str]) -> str:
    """Return a Markdown table of settings.

    Args:
        settings: The settings.
        prefix: Group of the file with a dot, which precedes their names; may be empty.
        values: Valid values by name of the setting; others are checked against annotations.
    """
    lines = ["| setting | default | values | meaning |", "|---|---|---|---|"]
    for setting in settings:
        default = "" if setting.default == "???" else setting.default
        default = default if len(default) <= MAX_DEFAULT else f"{default[:MAX_DEFAULT]}..."
        meaning = ": ".join(filter(None, ["required" if setting.default == "???" else "", setting.comment]))
        cells = (
            f"`{prefix}{setting.name}`",
            f"`{default}`" if default else "",
            values.get(setting.name, ""),
            meaning,
        )
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def flatten_settings(settings_: Mapping[str, SettingType], prefix: str = "") -> Iterator[tuple[str, SettingType]]:
    """Yield the full name and the type of each setting."""
    for name, kind in settings_.items():
        if isinstance(kind, Section):
            yield from flatten_settings(kind.settings, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind


def update_run_tables(page: Path) -> None:
    """Update the tables of docs/runs.md that list the files of a run and the roles of settings.

    The tables are between `<!-- table: NAME -->` and `<!-- end of table -->`, so that they can also be read without
    `make docs`.
    """
    files = [f"| `{file.name}` | {file.meaning} |" for file in RunFolder.files()]
    roles = [f"| {role.value} | {MEANINGS[role]} | {settings_of(role)} |" for role in Role]
    tables = {
        "files": ["| file | content |", "|---|---|", *files],
        "roles": ["| role | meaning | settings |", "|---|---|---|", *roles],
    }
    text = page.read_text(encoding="utf-8")
    for name, lines in tables.items():
        start, end = f"<!-- table: {name} -->\n", "\n<!-- end of table -->"
        before, found, after = text.partition(start)
        _, ended, rest = after.partition(end)
        if not (found and ended):
            raise ValueError(f"{page.name} has no table {name}")
        text = before + start + "\n".join(lines) + end + rest
    page.write_text(text, encoding="utf-8")


def settings_of(role: Role) -> str:
    """Return the settings of a role as Markdown."""
    listed = ", ".join(f"`{key}`" for key, key_role in settings.ROLES.items() if key_role is role)
    if role is not Role.METHOD:
        return listed
    sections = ", ".join(f"`{section}.*`" for section in settings.METHOD_SECTIONS)
    return f"everything that is not listed in another role: {sections}, {listed}"
