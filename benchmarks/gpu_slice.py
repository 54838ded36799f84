"""One slice of the GPU benchmarks: runs the steps in their order until the time is over."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import gpu_environment
from gpu_process import StoppedError, run_command
from gpu_report import last_line, read_output, write_report
from gpu_state import State, StepStatus
from gpu_steps import STEPS, Kit, Step
from gpu_training import MAX_EPOCHS, METHODS, epoch_durations, plan_training

RESERVE_S = 5.0  # at the end of a slice, to write the report
MAX_STOPS = 2  # after which a step that cannot continue has failed
MORE_TIME = 1.3  # factor of the time for a step that was stopped
MARGIN_S = 30.0  # of a slice, which is not required for a step that was stopped
SMALL_EPOCHS = 12  # of the training runs with --small


class GPUBenchmarks:
    """Runs the steps in their order until the time is over.

    Args:
        kit: Folders and state.
        out: Folder of the report.
        minutes: Duration of this slice.
        total_minutes: Duration of all slices, from which the number of epochs is determined.
        skip: Names of steps that are not run in this slice; others do not wait for them, unless they require them.
    """

    def __init__(self, kit: Kit, out: Path, minutes: float, total_minutes: float, skip: Sequence[str] = ()) -> None:
        self.kit = kit
        self.state = kit.state
        self.out = out
        self.start = time.monotonic()
        self.slice_s = 60 * minutes
        self.deadline = self.start + self.slice_s - RESERVE_S
        self.total_s = 60 * total_minutes
        self.skip = frozenset(skip)

    def run(self) -> None:
        """Run the slice."""
        self.state.slices.append(self.slice_s)  # replaced at the end, unless this process is killed
        try:
            self._recover()
            for step in STEPS:
                if not self.state[step.name].is_final and self._can_start(step):
                    print(f"{step.name} ...", flush=True)
                    try:
                        self._run_step(step)
                    except Exception as error:  # such as an unexpected output; the next step is run
                        self._record_error(step, error)
                    print(f"{step.name}: {self.state[step.name].status} {self.state[step.name].remark}", flush=True)
                    self._report()
        finally:
            self.state.slices[-1] = time.monotonic() - self.start
            self.state.write()
            self._report()

    def _recover(self) -> None:
        """Treat a step that was running when the machine was stopped as stopped at the time limit."""
        for step in STEPS:
            if self.state[step.name].status is StepStatus.RUNNING:
                self._stop(step)

    def _report(self) -> None:
        write_report(STEPS, self.kit, self.out)

    def _can_start(self, step: Step) -> bool:
        """Whether the requirements and the remaining time permit a start; otherwise, the reason is recorded."""
        others = (*step.requires, *(name for name in step.after if name not in self.skip))
        failed = [name for name in step.requires if self.state[name].status is StepStatus.FAILED]
        waiting = [name for name in others if not self.state[name].is_final]
        left, minimum = self.deadline - time.monotonic(), self._minimum(step)
        if step.name in self.skip:
            self.state.update(step.name, remark="skipped")
        elif failed:
            self.state.update(step.name, status=StepStatus.FAILED, remark=f"requires {failed[0]}, which failed")
        elif waiting:
            self.state.update(step.name, remark=f"waits for {waiting[0]}")
        elif left <= minimum:
            self.state.update(step.name, remark=f"not started: {left:.0f} s left, at least {minimum:.0f} s required")
        else:
            return True
        return False

    def _minimum(self, step: Step) -> float:
        """Return the time in seconds that must be left to start a step."""
        minimum = step.grace_s + (0 if self.kit.small else step.minimum_s)
        state = self.state[step.name]
        if step.run is None and state.stops:  # it needs more time than before, at most a slice
            minimum = max(minimum, min(MORE_TIME * state.seconds, self.slice_s - MARGIN_S))
        return minimum

    def _run_step(self, step: Step) -> None:
        """Run a step, and record its status, duration and key figure."""
        kit, previous = self.kit, self.state[step.name]
        if step.run is None:
            self._remove_output(step)
        if step.name in METHODS and not self.state.plan:
            self._plan()
        self.state.update(step.name, status=StepStatus.RUNNING, remark="")
        started = time.monotonic()
        try:
            status = run_command(
                step.command(kit),
                kit.output(step.name),
                kit.log(step.name),
                folder=kit.work / "cwd",
                environment=gpu_environment.environment(kit.work),
                deadline=self.deadline,
                grace_s=step.grace_s,
            )
        except (StoppedError, KeyboardInterrupt, SystemExit) as error:
            self._stop(step, time.monotonic() - started + (previous.seconds if step.run else 0))
            if not isinstance(error, StoppedError):
                raise
            return
        seconds = time.monotonic() - started + (previous.seconds if step.run else 0)
        remark = step.figure(kit, read_output(kit.output(step.name), kit))
        if status:
            log = read_output(kit.log(step.name), kit) or read_output(kit.output(step.name), kit)
            remark = f"exit status {status}: {remark or last_line(log)}"
        self.state.update(
            step.name, status=StepStatus.FAILED if status else StepStatus.DONE, seconds=seconds, remark=remark
        )

    def _record_error(self, step: Step, error: Exception) -> None:
        """Record an error of this process as a failure of the step, with the traceback in its log."""
        with self.kit.log(step.name).open("a", encoding="utf-8") as log:
            log.write("".join(traceback.format_exception(error)))
        self.state.update(step.name, status=StepStatus.FAILED, remark=f"{type(error).__name__}: {error}")

    def _stop(self, step: Step, seconds: float = 0.0) -> None:
        """Record that a step was stopped; one that cannot continue has failed if it was stopped repeatedly."""
        stops = self.state[step.name].stops + 1
        given_up = step.run is None and stops >= MAX_STOPS
        self.state.update(
            step.name,
            status=StepStatus.FAILED if given_up else StepStatus.STOPPED,
            stops=stops,
            seconds=seconds or self.state[step.name].seconds,
            remark=f"stopped at the time limit {stops} times" if given_up else "stopped at the time limit",
        )

    def _remove_output(self, step: Step) -> None:
        """Remove the output of an earlier attempt."""
        for path in (self.kit.output(step.name), self.kit.log(step.name)):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.kit.run_folder(step.name).path, ignore_errors=True)

    def _plan(self) -> None:
        """Determine the number of epochs, and remove earlier runs and the checkpoints of the calibration."""
        folder = self.kit.run_folder("calibration")
        log = folder.log.read_text(encoding="utf-8")
        durations = epoch_durations(log, self.state["calibration"].seconds)
        left = self.total_s - sum(self.state.slices[:-1]) - (time.monotonic() - self.start)
        slice_left = self.deadline - time.monotonic()
        max_epochs = SMALL_EPOCHS if self.kit.small else MAX_EPOCHS
        self.state.plan = asdict(plan_training(durations, left, self.slice_s, slice_left, max_epochs))
        self.state.write()
        for path in (folder.best_checkpoint.parent, *(self.kit.run_folder(name).path for name in METHODS)):
            shutil.rmtree(path, ignore_errors=True)


def open_state(
    work: Path, not_installed: Sequence[str] = (), repeat: Sequence[str] = (), skip: Sequence[str] = ()
) -> State:
    """Read the state of earlier slices.

    Args:
        work: Folder of the state.
        not_installed: Optional packages that are missing, for the report.
        repeat: Names of steps to run again, with those that depend on them.
        skip: Names of steps that will be skipped.

    Raises:
        ValueError: If there is no step of such a name.
    """
    names = [step.name for step in STEPS]
    if unknown := sorted({*repeat, *skip} - {*names}):
        raise ValueError(f"steps are {', '.join(names)}, got {', '.join(unknown)}")
    state = State.read(work / "state.json")
    state.environment = state.environment or gpu_environment.describe(work)
    if not_installed:
        state.environment["not installed:"] = ", ".join(not_installed)
    if "calibration" in repeat:
        state.plan = {}
    state.prepare_repeat(repeat, {step.name: step.requires for step in STEPS})
    return state


def run_slice(
    data: Path, out: Path, state: State, minutes: float, total_minutes: float, small: bool, skip: Sequence[str] = ()
) -> bool:
    """Run a slice.

    Args:
        data: Folder of the dataset.
        out: Folder of the report.
        state: State of the steps; the runs are in the folder of its file.
        minutes: Duration of the slice.
        total_minutes: Duration of all slices.
        small: Use a tiny network and few epochs.
        skip: Names of steps that are not run in this slice.

    Returns:
        Whether all steps have succeeded, in this slice or earlier.
    """
    for name in ("logs", "runs", "cwd"):
        (state.path.parent / name).mkdir(exist_ok=True)
    kit = Kit(data.resolve(), state.path.parent, state, small)
    GPUBenchmarks(kit, out.resolve(), minutes, total_minutes, skip).run()
    return all(state[step.name].status is StepStatus.DONE for step in STEPS)
