"""The commands of README.md and docs/*.md are valid, and run as printed on small datasets.

`make test` runs the commands at the top of README.md; `make test-docs` checks the settings of all commands and runs
all of them. The tables below state what differs from the printed command. docs/extend.md and docs/finetuning.md are
run by test_docs.py and integration/test_finetuning.py.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode

from helpers import commands
from helpers.documented_commands import Command, read_commands, runs_documentation
from helpers.documented_data import CASES, DATASETS, HEIGHT, SIZE, write_resnet18
from mammoseg.cli import check_user_argv, checked_argv
from mammoseg.conf import conf_dir
from mammoseg.errors import UserError
from mammoseg.launch.settings_check import first_values
from mammoseg.schema.check import check_config
from mammoseg.schema.command_line import split_options
from mammoseg.schema.help_text import register_resolvers
from mammoseg.schema.overrides import key_of
from mammoseg.train.__main__ import LAUNCHER_PLUGINS

# Commands that are not run -> the reason.
NOT_RUN = {
    r"(make|source|pip|uv|docker) ": "installs mammoseg or runs its tests",
    r"export nnUNet_|nnUNetv2_|python benchmarks/nnunet/": "requires nnU-Net",
    r"wandb ": "requires an account of W&B",
    r".*mode=online": "requires an account of W&B",
    r".*download=true": "downloads CBIS-DDSM",
}
# Programs of the system that are run.
SYSTEM_PROGRAMS = ("mkdir", "ln")
RUN = "outputs/phantom/density_asp-fold0-seed0-2026-11-25_18-06-39"
# Placeholders -> what they stand for. {data} is the folder of the datasets.
PLACEHOLDERS = {
    r"/data/": "{data}/",
    r"dataset=inbreast dataset\.root=(DIR|\.\.\.)(?= |$)": "dataset=inbreast dataset.root={data}/INbreast",
    r"=DIR\b": "={data}/folder",
    r"=mammogram\.dcm": "={data}/mammogram.dcm",
    r"outputs/(\.\.\.|phantom)/(?=first|second)": "outputs/",
    r"outputs/\.\.\./": RUN,
    r"multirun/\.\.\./fold(\d)": r"multirun/table1-inbreast/au_net-fold\1-seed0",
}
# Runs and outputs that a page assumes -> the command that creates them.
GIVEN = {
    RUN: f"python -m mammoseg.train hydra.run.dir={RUN}",
    "outputs/first": "python -m mammoseg.train seed=1 hydra.run.dir=outputs/first",
    "outputs/second": "python -m mammoseg.train seed=2 hydra.run.dir=outputs/second",
    "multirun/table1-inbreast": "python -m mammoseg.train experiment=table1 dataset.root=/data/INbreast",
    "multirun/table1-inbreast-both": (
        "python -m mammoseg.train experiment=table1 split.test=both dataset.root=/data/INbreast "
        "hydra.sweep.dir=multirun/table1-inbreast-both"
    ),
    "predictions": "python -m mammoseg.predict ckpt_path=latest input=/data/films",
}
# Commands -> settings that make them small, and replace settings of the same names.
PHANTOMS = f"dataset.source.cases={CASES} dataset.source.height={HEIGHT} dataset.source.appearance=simple"
SMALLER = {
    r"train (?!.*resume=)": f"width=2 epochs=1 dataset.size={SIZE} trainer.accelerator=cpu logger=csv",
    r"train .*init_from=efficientnet_unet_cbis_ddsm": "width=32",  # as the model
    r"train .*init_from=au_net_density_asp_cbis_ddsm": "width=8",
    r"train .*experiment=table1": "method=au_net,density_asp split.fold=0,1",
    r"train .*experiment=table1 split\.test=both": "split.folds=2",
    r"train .*experiment=table2": "method=au_net,density_asp seed=0",
    r"train .*sweep=theta": "loss.theta=[0.25,0.25,0.85,0.95],[0.5,0.5,0.85,0.95]",
    r"train .*sweep=optuna": "hydra.sweeper.n_trials=2",
    r"train -m theta\.acr3=": "theta.acr3=0.8,0.85 loss.alpha=1 seed=0",
    r"train -m loss=": "loss.alpha=1",
    r"train -m method=": "seed=0,1",
    r"(train|export|evaluate) .*dataset=phantom": PHANTOMS,
    r"train (?!.*(dataset=|experiment=table|resume=))": PHANTOMS,
    r"(prepare|fit_density) |(evaluate .*masks|export .*format)=": f"dataset.size={SIZE}",
    # Worker processes start in the working directory of the tests, where relative paths are invalid.
    r"(train|prepare|fit_density) (?!.*resume=)|(evaluate .*dataset|export .*format)=": "dataset.workers=1",
    r"compare ": "resamples=100",
}

REPOSITORY = Path(__file__).resolve().parents[1]
NOT_CHECKED_HERE = ("configuration.md", "extend.md")  # generated; commands with the files of the page
RUN_ELSEWHERE = ("finetuning.md",)
PAGES = [
    REPOSITORY / "README.md",
    *(page for page in sorted((REPOSITORY / "docs").glob("*.md")) if page.name not in NOT_CHECKED_HERE),
]
LAUNCHER_EXAMPLES = re.findall(r"`(launcher=[^`]* hydra[^`]*)`", (REPOSITORY / "docs" / "sweeps.md").read_text())


@cache
def documented() -> dict[Path, list[Command]]:
    """The commands of each page that has some."""
    pages = {page: read_commands(page) for page in PAGES}
    return {page: listed for page, listed in pages.items() if any(command.name for command in listed)}


def all_commands() -> list[Command]:
    return [command for listed in documented().values() for command in listed]


def check_settings(name: str, arguments: Sequence[str]) -> None:
    """Check the command line, compose the config and check all settings, as the command does before it starts.

    Of a sweep, the values on the command line are checked, each with the first values of the others; those in `conf/`
    are checked by tests/contracts.

    Raises:
        UserError: If a setting is invalid, or has several values in a single run.
        HydraException: If the config cannot be composed.
    """
    check_user_argv(name, arguments)
    options, overrides = split_options(checked_argv(arguments))
    if "--help" in options:
        return
    parsed = OverridesParser.create().parse_overrides(overrides)
    fixed = [override.input_line for override in parsed if not override.is_sweep_override() and override.input_line]
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for values in first_values(parsed):
            cfg = compose(name, [*fixed, *values], return_hydra_config=True)
            check_config(name, cfg)
    if len(fixed) < len(parsed) and "-m" not in options and cfg.hydra.mode != RunMode.MULTIRUN:
        raise UserError("several values of a setting require -m")


def reason_not_to_run(command: Command) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.match(pattern, command.text)), None)


@runs_documentation
def test_all_documented_commands_have_valid_settings() -> None:
    distinct = {(command.name, *command.arguments): command for command in all_commands() if command.name is not None}
    invalid = []
    for (name, *arguments), command in distinct.items():
        try:
            check_settings(name, arguments)
        except (UserError, HydraException) as error:
            invalid.append(f"{command}\n  {error}")
    assert not invalid, "\n".join(invalid)


@pytest.mark.parametrize("example", LAUNCHER_EXAMPLES, ids=lambda example: example.split()[0])
def test_settings_of_launchers_are_valid(example: str) -> None:
    plugin = LAUNCHER_PLUGINS[example.split()[0].removeprefix("launcher=")]
    pytest.importorskip(f"hydra_plugins.{plugin}", reason=f"{plugin} is not installed")
    check_settings("train", shlex.split(example))


def test_each_other_program_is_run_or_listed_with_a_reason() -> None:
    unknown = [
        str(command)
        for command in all_commands()
        if command.name is None and command.words[0] not in SYSTEM_PROGRAMS and reason_not_to_run(command) is None
    ]
    assert not unknown, "add these to NOT_RUN, or mark their block as ```text"


@pytest.mark.parametrize(
    "table", [NOT_RUN, PLACEHOLDERS, GIVEN, SMALLER], ids=["not-run", "placeholders", "given", "smaller"]
)
def test_each_entry_of_the_tables_is_used(table: dict[str, str]) -> None:
    texts = [command.text.removeprefix("python -m mammoseg.") for command in all_commands()]
    assert [pattern for pattern in table if not any(re.search(pattern, text) for text in texts)] == []


class Workplace:
    """Working directories, which share the datasets in /data and the runs and outputs of `GIVEN`.

    Args:
        folder: Folder of the working directories.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "datasets"
        self.data.mkdir()
        self.given = self.working_directory("given")

    def working_directory(self, name: str) -> Path:
        """Create a working directory, in which `data` is the folder of the datasets."""
        path = self.folder / name
        path.mkdir()
        (path / "data").symlink_to(self.data)
        write_resnet18(path / "resnet18.pth", width=2)
        return path

    def run(self, command: Command, folder: Path) -> str | None:
        """Run a command in a working directory, except those of `NOT_RUN`.

        Returns:
            Its output if it fails; otherwise None.
        """
        if reason_not_to_run(command) is not None:
            if command.words[0] == "nnUNetv2_predict":
                predict_masks(command, folder)
            return None
        words = self.words(command)
        self.provide(shlex.join(words), folder)
        if command.name is None:
            completed = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        else:
            completed = commands.run(command.name, *words, folder=folder)
        return completed.stdout + completed.stderr if completed.returncode else None

    def words(self, command: Command) -> list[str]:
        """Return the arguments of the command, or all words of another program, with the changes of the tables."""
        text = command.text
        for pattern, replacement in PLACEHOLDERS.items():
            text = re.sub(pattern, replacement.replace("{data}", str(self.data)), text)
        if command.name is None:
            return shlex.split(text)
        arguments = replace(command, text=text).arguments
        for pattern, settings in SMALLER.items():
            if re.match(pattern, f"{command.name} {shlex.join(command.arguments)}"):
                smaller = settings.split()
                names = {key_of(setting) for setting in smaller}
                arguments = [*(argument for argument in arguments if key_of(argument) not in names), *smaller]
        return arguments

    def provide(self, text: str, folder: Path) -> None:
        """Create what a command assumes: datasets, runs, outputs and, for `resume`, an unfinished run."""
        for name, write in DATASETS.items():
            if re.search(rf"{self.data}/{re.escape(name)}(?![\w.-])", text) and not (self.data / name).exists():
                write(self.data / name)
        read = re.sub(r"(hydra\.run\.dir|hydra\.sweep\.dir|output)=\S+", "", text)  # not what the command writes
        names = [name for name in GIVEN if re.search(rf"[=\[,]{name}(?![\w-])", read)]
        if "resume=latest" in text or ("=latest" in text and not list(folder.rglob("checkpoints"))):
            names.append(RUN)
        for name in names:
            if not (folder / name).exists():
                if not (self.given / name).exists():
                    output = self.run(Command("GIVEN", 0, GIVEN[name]), self.given)
                    assert output is None, output
                shutil.copytree(self.given / name, folder / name, symlinks=True)
                if (folder / RUN).exists():  # remains the latest run
                    update_record(folder / RUN, started=datetime.now(UTC).isoformat(timespec="microseconds"))
        if (match := re.search(r"resume=(\S+?)(/checkpoints/last\.ckpt)?(?= |$)", text)) is not None:
            interrupt(folder / (RUN if match[1] == "latest" else match[1]))


def interrupt(run: Path) -> None:
    """Make a finished run one that was interrupted before its test."""
    (run / "results.csv").unlink()
    update_record(run, status="stopped")


def update_record(run: Path, **values: str) -> None:
    """Change values of run.json."""
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, **values}))


def predict_masks(command: Command, folder: Path) -> None:
    """Write the masks that `nnUNetv2_predict -i IMAGES -o MASKS` would write; here, they are the ground truth."""
    options = dict(itertools.pairwise(command.words))
    shutil.copytree((folder / options["-i"]).with_name("labelsTs"), folder / options["-o"])


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("documentation"))


def failures(listed: Sequence[Command], workplace: Workplace, name: str) -> list[str]:
    """Run commands in a new working directory, and return those that fail, with their output."""
    folder = workplace.working_directory(name)
    outputs = {command: workplace.run(command, folder) for command in listed}
    return [f"{command}\n{output}" for command, output in outputs.items() if output is not None]


def test_the_first_commands_of_the_readme_run(workplace: Workplace) -> None:
    listed = documented()[PAGES[0]]
    first = listed[: next(i for i, command in enumerate(listed) if command.name == "train") + 1]
    assert [command.name for command in first] == [None, None, "predict", "train"]
    assert failures(first, workplace, "first") == []


@runs_documentation
@pytest.mark.parametrize(
    "page", [page for page in documented() if page.name not in RUN_ELSEWHERE], ids=lambda page: page.stem
)
def test_the_commands_of_the_page_run(page: Path, workplace: Workplace) -> None:
    failed = failures(documented()[page], workplace, page.stem)
    assert not failed, "\n".join(failed)
