"""Slices of `make gpu` with commands of a few milliseconds: order, time limits, failures and repetition."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import gpu_environment
import gpu_slice
from gpu_process import StoppedError, run_command, without_paths
from gpu_state import State, StepState, StepStatus
from gpu_steps import STEPS, Kit, Step, overhead_figure
from gpu_training import RESUME_S, Durations, choose_precision, epoch_durations, plan_training

BENCHMARKS = Path(gpu_slice.__file__).parent


def python_step(name: str, code: str, **arguments: object) -> Step:
    return Step(
        name,
        f"Title of {name}",
        lambda kit: [sys.executable, "-S", "-c", code],
        **{"minimum_s": 0.0, "figure": lambda _, output: output[:20], **arguments},  # type: ignore[arg-type]
    )


def slice_of(
    folder: Path,
    steps: Sequence[Step],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float = 20.0,
    skip: Sequence[str] = (),
) -> dict[str, StepState]:
    """Run a slice with the state in `folder`; returns the status of the steps."""
    monkeypatch.setattr(gpu_slice, "STEPS", steps)
    monkeypatch.setattr(gpu_slice, "RESERVE_S", 0.0)
    for name in ("logs", "cwd", "runs"):
        (folder / name).mkdir(exist_ok=True)
    state = State.read(folder / "state.json")
    kit = Kit(folder / "data", folder, state)
    gpu_slice.GPUBenchmarks(kit, folder / "out", seconds / 60, 25, skip).run()
    assert State.read(folder / "state.json").steps == state.steps
    return state.steps


def count(folder: Path, name: str) -> int:
    """Number of starts of a step that appends a line to a file of its name."""
    path = folder / "cwd" / name
    return len(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else 0


def counted(name: str, code: str = "") -> str:
    return f"open({name!r}, 'a').write('start\\n'); {code}"


def test_finished_steps_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [python_step("first", counted("first", "print('value 3')"))]
    for _ in range(2):
        states = slice_of(tmp_path, steps, monkeypatch)
    assert (states["first"].status, states["first"].remark) == (StepStatus.DONE, "value 3")
    assert count(tmp_path, "first") == 1
    report = (tmp_path / "out" / "gpu.md").read_text(encoding="utf-8")
    assert "| first | done |" in report
    assert "## Title of first\n\nvalue 3" in report


def test_a_failure_is_recorded_and_the_next_step_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [
        python_step("broken", "print('| partial table |', flush=True); 1 / 0", figure=lambda *_: ""),
        python_step("dependent", counted("dependent"), requires=("broken",)),
        python_step("independent", counted("independent"), after=("broken",)),
    ]
    states = slice_of(tmp_path, steps, monkeypatch)
    assert states["broken"].status is StepStatus.FAILED
    assert states["broken"].remark == "exit status 1: ZeroDivisionError: division by zero"
    assert states["dependent"].remark == "requires broken, which failed"
    assert states["independent"].status is StepStatus.DONE
    assert count(tmp_path, "dependent") == 0
    report = (tmp_path / "out" / "gpu.md").read_text(encoding="utf-8")
    assert "| partial table |" in report
    assert "Traceback" in report
    assert str(tmp_path) not in report


def test_an_output_that_cannot_be_read_is_a_failure_of_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [
        python_step("unreadable", "print('text')", figure=lambda _, output: str(float(output))),
        python_step("next", counted("next")),
    ]
    states = slice_of(tmp_path, steps, monkeypatch)
    assert states["unreadable"].remark == "ValueError: could not convert string to float: 'text'"
    assert states["unreadable"].status is StepStatus.FAILED
    assert "Traceback" in (tmp_path / "out" / "gpu.md").read_text(encoding="utf-8")
    assert states["next"].status is StepStatus.DONE


def test_a_step_that_does_not_fit_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [
        python_step("long", counted("long"), minimum_s=55.0),
        python_step("short", counted("short")),
        python_step("training", counted("training"), after=("long", "short")),
    ]
    states = slice_of(tmp_path, steps, monkeypatch)
    assert states["long"].remark == "not started: 20 s left, at least 60 s required"
    assert states["training"].remark == "waits for long"
    states = slice_of(tmp_path, steps, monkeypatch, skip=["long"])
    assert [count(tmp_path, step.name) for step in steps] == [0, 1, 1]
    assert states["long"].status is StepStatus.PENDING


def test_a_stopped_step_is_repeated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [
        python_step("slow", counted("slow", "import time; time.sleep(60)"), grace_s=0.2),
        python_step("fast", counted("fast")),
    ]
    states = slice_of(tmp_path, steps, monkeypatch, seconds=1.5)
    assert (states["slow"].status, states["slow"].stops) == (StepStatus.STOPPED, 1)
    assert count(tmp_path, "fast") == 0
    states = slice_of(tmp_path, steps, monkeypatch, seconds=1.5)
    assert (states["slow"].status, states["slow"].stops) == (StepStatus.FAILED, 2)
    states = slice_of(tmp_path, steps, monkeypatch)
    assert states["fast"].status is StepStatus.DONE
    assert count(tmp_path, "slow") == 2


def test_a_training_run_continues_in_every_slice_until_it_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = counted("run", "import time; time.sleep(60 if len(open('run').readlines()) < 4 else 0)")
    steps = [python_step("run", code, run="run", grace_s=0.2)]
    for expected in (StepStatus.STOPPED, StepStatus.STOPPED, StepStatus.STOPPED, StepStatus.DONE):
        (tmp_path / "runs" / "run").mkdir(parents=True, exist_ok=True)
        states = slice_of(tmp_path, steps, monkeypatch, seconds=1.5)
        assert states["run"].status is expected
        assert (tmp_path / "runs" / "run").is_dir()
    assert states["run"].seconds > 3


def test_a_step_that_ran_when_the_machine_was_stopped_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State.read(tmp_path / "state.json")
    state.update("first", status=StepStatus.RUNNING)
    steps = [python_step("first", counted("first"))]
    assert slice_of(tmp_path, steps, monkeypatch)["first"].status is StepStatus.DONE


def test_repeat_runs_a_step_and_those_that_require_it_again(tmp_path: Path) -> None:
    state = State(tmp_path / "state.json", {name: StepState(StepStatus.DONE) for name in ("a", "b", "c", "d")})
    state.prepare_repeat(["a"], {"b": ("a",), "c": ("b",), "d": ()})
    assert [state[name].status.value for name in "abcd"] == ["pending", "pending", "pending", "done"]


def test_unknown_steps_raise(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got tets"):
        gpu_slice.open_state(tmp_path, repeat=["tets"])


def test_all_processes_of_a_stopped_command_are_ended(tmp_path: Path) -> None:
    child = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    parent = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}]); print(p.pid); p.wait()"
    command = [sys.executable, "-u", "-c", parent]
    output = tmp_path / "output"
    with pytest.raises(StoppedError):
        run_command(command, output, output, tmp_path, os.environ, time.monotonic() + 4, grace_s=0.5)
    pid = next(int(line) for line in output.read_text(encoding="utf-8").splitlines() if line.isdigit())
    deadline = time.monotonic() + 5
    while (state := process_state(pid)) not in (None, "Z"):
        assert time.monotonic() < deadline, state
        time.sleep(0.05)


def process_state(pid: int) -> str | None:
    """Letter of the state of a process in /proc; None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("File '/usr/lib/python3/torch/nn.py', line 3", "File 'nn.py', line 3"),
        ("wrote /home/me/work/runs/a.csv (2 rows)", "wrote WORK/runs/a.csv (2 rows)"),
        ("/home/me/works/a", "a"),
        ("https://example.org/a/b, 3/4, and/or; data:image/jpeg;base64,/9j/4AAQ/x", None),
    ],
)
def test_outputs_contain_no_local_paths(text: str, expected: str | None) -> None:
    assert without_paths(text, {Path("/home/me/work"): "WORK"}) == (text if expected is None else expected)


TABLE = "| channels_last, fused: the default | {} ms | 1.0 |\n| the default and bf16 | {} ms | 1.0 |\n"


@pytest.mark.parametrize(
    ("table", "is_gpu", "precision"),
    [
        (TABLE.format(90, 40), True, "bf16-mixed"),
        (TABLE.format(41, 40), True, "32-true"),
        (TABLE.format(40, 90), False, "32-true"),
        ("", True, "bf16-mixed"),
        ("", False, "32-true"),
    ],
)
def test_the_faster_precision_is_chosen(table: str, is_gpu: bool, precision: str) -> None:
    assert choose_precision(table, is_gpu)[0] == precision


def test_durations_are_read_from_the_log() -> None:
    log = "".join(f"23:59:{s:02} INFO epoch {n}/3  train loss 1\n" for n, s in ((1, 30), (2, 45)))
    log += "00:00:00 INFO epoch 3/3  train loss 1\n"
    assert epoch_durations(log, 65.0) == Durations(epoch=15.0, fixed=20.0)
    with pytest.raises(ValueError, match="at least two epochs, got 0"):
        epoch_durations("", 1.0)


def test_the_duration_of_an_epoch_is_that_of_the_last_ones() -> None:
    """The first epoch takes 20 s longer, the second one 5 s longer than the others, which take 8 s."""
    log = "".join(f"12:{s // 60:02}:{s % 60:02} INFO epoch {n}/4  \n" for n, s in ((1, 28), (2, 41), (3, 49), (4, 57)))
    assert epoch_durations(log, 57.0 + 12.0) == Durations(epoch=8.0, fixed=20.0 + 5.0 + 12.0)


def training_time(left_s: float, slice_s: float, slice_left_s: float) -> float:
    """Time for training in seconds: this slice and the next ones, without stopping and resuming."""
    available = min(left_s, slice_left_s)
    left_s -= available
    while left_s > 0:
        available += min(left_s, slice_s) - RESUME_S
        left_s -= slice_s
    return available


@given(
    durations=st.builds(Durations, epoch=st.floats(1, 60), fixed=st.floats(5, 60)),
    left_s=st.floats(60, 6000),
    slice_s=st.floats(120, 3000),
    elapsed=st.floats(0, 1),
)
def test_both_runs_fit_into_the_remaining_time(
    durations: Durations, left_s: float, slice_s: float, elapsed: float
) -> None:
    slice_left_s = (1 - elapsed) * slice_s
    plan = plan_training(durations, left_s, slice_s, slice_left_s)
    assert 1 <= plan.epochs <= 120
    assert 1 <= plan.lr_decay_epochs <= plan.epochs
    duration = 2 * (durations.fixed + plan.epochs * durations.epoch)
    available = training_time(left_s, slice_s, slice_left_s)
    assert duration < available or "probably not finish" in plan.remark
    if plan.epochs < 120:
        assert duration + 2 * durations.epoch > available - 0.15 * left_s - 30, "most of the time is used"


def test_no_time_is_reserved_for_resuming_if_the_current_slice_is_long_enough() -> None:
    durations = Durations(epoch=7.5, fixed=25.0)
    assert plan_training(durations, left_s=270, slice_s=570, slice_left_s=270).epochs == 10
    assert plan_training(durations, left_s=270, slice_s=570, slice_left_s=100).epochs == 7


def test_the_overhead_is_that_of_the_suite_for_the_last_network() -> None:
    rows = "| demo | 9.0 ms | 9.5 ms | 9.9 ms | 50.0 % | 20.0 % |\n| full | 9.0 ms | 9.5 ms | 9.9 ms | 20.0 % | {} % |"
    kit = Kit(Path("data"), Path("work"), State(Path("state.json")))
    assert overhead_figure(kit, rows.format(10.0)) == "10.0 % (target: at most 15 %, met); of the criterion 20.0 %"
    assert overhead_figure(kit, rows.format(-1.5)) == "-1.5 % (target: at most 15 %, met); of the criterion 20.0 %"
    assert overhead_figure(kit, rows.format(16.0)).startswith("16.0 % (target: at most 15 %, not met)")
    assert overhead_figure(kit, "| network |") == ""


def test_steps_require_earlier_steps_and_have_unique_names() -> None:
    names = [step.name for step in STEPS]
    assert len({*names}) == len(names)
    for index, step in enumerate(STEPS):
        assert {*step.requires, *step.after} <= {*names[:index]}


def write_wheel(folder: Path, name: str) -> None:
    """Write a wheel with one empty module."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)


def test_missing_packages_are_installed_from_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(gpu_environment, "REQUIRED", {"mammoseg_test_required": "required-package"})
    monkeypatch.setattr(gpu_environment, "OPTIONAL", {"mammoseg_test_absent.part": "optional-package"})
    site = tmp_path / "site"
    with pytest.raises(gpu_environment.MissingPackagesError, match="required-package must be installed"):
        gpu_environment.add_packages(None, site)
    (tmp_path / "wheels").mkdir()
    write_wheel(tmp_path / "wheels", "mammoseg_test_required")
    for _ in range(2):
        assert gpu_environment.add_packages(tmp_path / "wheels", site) == ["optional-package"]
    assert (site / "mammoseg_test_required.py").is_file()
    monkeypatch.setattr(gpu_environment, "OPTIONAL", {"mammoseg_test_added": "optional-package"})
    write_wheel(tmp_path / "wheels", "mammoseg_test_added")
    assert gpu_environment.add_packages(tmp_path / "wheels", site) == []
    assert str(site) in gpu_environment.environment(tmp_path)["PYTHONPATH"]


def test_a_missing_dataset_is_an_error(tmp_path: Path) -> None:
    completed = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py", "--data", tmp_path],
        env={**os.environ, "PYTHONPATH": str(BENCHMARKS.parent / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 2
    assert "--data must be a folder with cases.csv" in completed.stderr
