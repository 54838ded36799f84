"""Steps of the GPU benchmarks: commands, time limits, and the key figure of each result."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpu_environment import REPOSITORY
from gpu_state import State
from gpu_training import (
    CALIBRATION_EPOCHS,
    METHODS,
    TrainingPlan,
    choose_precision,
    dataset_settings,
    training_settings,
)
from mammoseg.runs.folder import RunFolder

TESTS = [f"tests/contracts/test_accelerator_{name}.py" for name in ("components", "training")]
SMALL_PHANTOM = ["width=1", "dataset.size=64", "dataset.source.cases=30", "dataset.source.height=208"]


@dataclass(frozen=True)
class Kit:
    """Folders and settings of the GPU benchmarks.

    Attributes:
        data: Folder of the dataset, in the layout of dataset=folder with a column `split`.
        work: Folder of the state, the prepared images and the runs; remains on the machine.
        state: State of all steps.
        small: Use a tiny network and few epochs, to test the steps on a CPU.
    """

    data: Path
    work: Path
    state: State
    small: bool = False

    def run_folder(self, name: str) -> RunFolder:
        """Return the folder of a training run."""
        return RunFolder(self.work / "runs" / name)

    def output(self, step: str) -> Path:
        """Return the file with the standard output of a step."""
        return self.work / "logs" / f"{step}.out"

    def log(self, step: str) -> Path:
        """Return the file with the standard error of a step."""
        return self.work / "logs" / f"{step}.log"

    @property
    def is_gpu(self) -> bool:
        """Whether the machine has a GPU."""
        return self.state.environment.get("device", "CPU") != "CPU"

    @property
    def precision(self) -> tuple[str, str]:
        """`trainer.precision` of the training runs, and the reason."""
        table = self.output("step")
        return choose_precision(table.read_text(encoding="utf-8") if table.is_file() else "", self.is_gpu)


@dataclass(frozen=True)
class Step:
    """One step, which is useful by itself.

    Attributes:
        name: Name, of the result files as well.
        title: Heading in the report.
        command: Returns the command line.
        minimum_s: The step is only started if this time is left, in seconds; about its duration on an NVIDIA H200, or
            for a training run, the time for the start and an epoch.
        figure: Returns the key figure, given the standard output; empty if it contains none.
        requires: Steps that must have succeeded.
        after: Steps that must have ended, whether or not they succeeded.
        run: Name of the training run that the step continues if it was stopped; None: it is repeated.
        grace_s: Time for a graceful stop in seconds.
    """

    name: str
    title: str
    command: Callable[[Kit], list[str]]
    minimum_s: float
    figure: Callable[[Kit, str], str]
    requires: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    run: str | None = None
    grace_s: float = 5.0


def benchmark(name: str, *arguments: str, small: Sequence[str]) -> Callable[[Kit], list[str]]:
    """Return the command line of a script in benchmarks/; `small` are the arguments for a tiny network."""
    script = str(REPOSITORY / "benchmarks" / f"{name}.py")
    return lambda kit: [sys.executable, script, *(small if kit.small else arguments)]


def table_value(pattern: str, text: str) -> str:
    """Return the last match of a regular expression with one group; empty without a match."""
    found: list[str] = re.findall(pattern, text, re.MULTILINE)
    return found[-1] if found else ""


def against(value: str, limit: float, unit: str, at_most: bool) -> str:
    """Return a value with its target and whether it is met; empty without a value."""
    if not value:
        return ""
    met = float(value) <= limit if at_most else float(value) >= limit
    target = f"target: {'at most' if at_most else 'at least'} {limit:g}{unit}"
    return f"{value}{unit} ({target}, {'met' if met else 'not met'})"


def tests_command(kit: Kit) -> list[str]:
    """Return the command line of the tests; warnings of other library versions than the pinned ones are no errors."""
    selection = ["-k", "hybrid_pixel or (au_net and float32)"] if kit.small else []
    options = ["-q", "-rfE", "-p", "no:cacheprovider", "-W", "default", "--disable-warnings", "--durations=10"]
    return [sys.executable, "-m", "pytest", *options, *selection, *(str(REPOSITORY / path) for path in TESTS)]


def settings_of_dataset(kit: Kit) -> list[str]:
    """Return the settings of the dataset."""
    return dataset_settings(kit.data, kit.work / "prepared", 64 if kit.small else 256)


def train_command(kit: Kit, name: str, method: str, plan: TrainingPlan) -> list[str]:
    """Return the command line of a training run, which continues the run if it was stopped."""
    settings = training_settings(1 if kit.small else 64, kit.precision[0], plan)
    folder = kit.run_folder(name).path
    return [
        *(sys.executable, "-m", "mammoseg.train", *settings_of_dataset(kit), f"method={method}", *settings),
        f"hydra.run.dir={folder}",
    ]


def calibration_command(kit: Kit) -> list[str]:
    """Return the command line of a short run, from whose duration the number of epochs is determined."""
    plan = TrainingPlan(CALIBRATION_EPOCHS, CALIBRATION_EPOCHS, "")
    return train_command(kit, "calibration", METHODS["density_asp"], plan)


def compare_command(kit: Kit) -> list[str]:
    """Return the command line of the comparison of the training runs."""
    runs = ",".join(str(kit.run_folder(name).path) for name in METHODS)
    resamples = ["resamples=100"] if kit.small else []
    return [sys.executable, "-m", "mammoseg.compare", f"runs=[{runs}]", f"output={kit.work / 'comparison'}", *resamples]


def run_figure(kit: Kit, name: str) -> str:
    """Return the validation and test DSC of a run."""
    folder = kit.run_folder(name)
    if not folder.summary.is_file():
        return ""
    score = json.loads(folder.record.read_text(encoding="utf-8"))["score"]
    pooled = table_value(r"^\| all, pooled[^|]*\|[^|]*\| *([^ |]+)", folder.summary.read_text(encoding="utf-8"))
    plan = kit.state.plan
    return f"{plan['epochs']} epochs, {kit.precision[0]}: best validation DSC {100 * score:.2f} %, test DSC {pooled} %"


def training_step(name: str, method: str, benchmarks: Sequence[Step]) -> Step:
    """Return the step that trains and tests full-width AU-Net with one loss."""

    def command(kit: Kit) -> list[str]:
        return train_command(kit, name, method, TrainingPlan(**kit.state.plan))

    return Step(
        name,
        f"AU-Net with {name} on real mammograms",
        command,
        minimum_s=40,  # it continues in the next slice
        figure=lambda kit, _: run_figure(kit, name),
        requires=("calibration",),
        after=tuple(step.name for step in benchmarks),
        run=name,
        grace_s=40,
    )


def overhead_figure(_: Kit, output: str) -> str:
    """Return the overhead of the suite and that of the criterion for the last, largest network."""
    criterion = table_value(r"\| (-?[\d.]+) % \| -?[\d.]+ % \|$", output)
    suite = against(table_value(r"\| (-?[\d.]+) % \|$", output), 15, " %", at_most=True)
    return f"{suite}; of the criterion {criterion} %" if criterion else suite


def packing_figure(_: Kit, output: str) -> str:
    """Return the speed-up by concurrent jobs."""
    return against(table_value(r"concurrent, joblib .*\| ([\d.]+)x \|$", output), 2, "x", at_most=False)


def loader_figure(_: Kit, output: str) -> str:
    """Return the time to read a batch with the default loader, and its fraction of a training step."""
    row = r"the default \| ([\d.]+ ms) \| ([\d.]+ %) \|$"
    return "".join(f"{time} per batch, {part} of a step" for time, part in re.findall(row, output, re.MULTILINE))


# The training runs start after these steps and before the other benchmarks.
FIRST_BENCHMARKS = [
    Step(
        "tests",
        "Tests of losses, networks and training on the GPU",
        tests_command,
        minimum_s=200,
        figure=lambda _, output: table_value(r"^=* ?(\d+ (?:passed|failed).*? in [\d.]+s)", output),
    ),
    Step(
        "criterion",
        "Criterion, compared with a reference implementation and a training step",
        benchmark("criterion", small=["--size=64", "--rounds=1", "--width=1", "--no-compile", "--threads=1"]),
        minimum_s=50,
        figure=lambda _, output: against(table_value(r"^\| eager .*\| ([\d.]+) % \|$", output), 15, " %", at_most=True),
    ),
    Step(
        "step",
        "Training step with each performance option",
        benchmark("step", small=["--width=1", "--size=64", "--rounds=1", "--no-compile", "--no-memory", "--threads=1"]),
        minimum_s=185,
        figure=lambda kit, _: "{}: {}".format(*kit.precision),
    ),
    Step(
        "overhead",
        "Overhead of the suite in a training step",
        benchmark("overhead", small=["--epochs=2", *SMALL_PHANTOM]),
        minimum_s=125,
        figure=overhead_figure,
    ),
]


def prepare_figure(kit: Kit, _: str) -> str:
    """Return the number of prepared images."""
    rows = sum(len(path.read_text(encoding="utf-8").splitlines()) - 1 for path in kit.work.glob("prepared/*/cases.csv"))
    return f"{rows} images"


STEPS = [
    *FIRST_BENCHMARKS,
    Step(
        "prepare",
        "Preprocessing of the real mammograms",
        lambda kit: [sys.executable, "-m", "mammoseg.prepare", *settings_of_dataset(kit)],
        minimum_s=20,
        figure=prepare_figure,
    ),
    Step(
        "calibration",
        "Duration of an epoch",
        calibration_command,
        minimum_s=65,
        figure=lambda kit, _: kit.precision[0],
        requires=("prepare",),
        after=("step",),
    ),
    *(training_step(name, method, FIRST_BENCHMARKS) for name, method in METHODS.items()),
    Step(
        "comparison",
        "Comparison of the losses on real mammograms",
        compare_command,
        minimum_s=25,
        figure=lambda _, output: table_value(r"^- .*(difference in pooled DSC.*?)\.?$", output),
        requires=tuple(METHODS),
    ),
    Step(
        "packing",
        "Table 1 with concurrent jobs on one GPU, width 8",
        benchmark("table", small=[*SMALL_PHANTOM, "epochs=1", "method=au_net"]),
        minimum_s=120,
        figure=packing_figure,
    ),
    Step(
        "packing_full_width",
        "Table 1 with concurrent jobs on one GPU, width 64",
        benchmark("table", "full", small=[*SMALL_PHANTOM, "epochs=1", "method=au_net"]),
        minimum_s=150,
        figure=packing_figure,
    ),
    Step(
        "loader",
        "Opening a prepared dataset and reading batches",
        benchmark("store", small=["--images=40", "--width=1"]),
        minimum_s=30,
        figure=loader_figure,
    ),
]
