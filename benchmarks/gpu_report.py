"""Report of the GPU benchmarks: gpu.md with all tables, and gpu_files.zip with tables, logs and figures.

Neither contains checkpoints, predictions or local paths.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gpu_environment import REPOSITORY
from gpu_process import without_paths
from gpu_state import StepState, StepStatus
from gpu_steps import Kit, Step
from gpu_training import METHODS
from mammoseg.files import atomic_write, atomic_write_text
from mammoseg.runs.folder import RunFolder

LOG_LINES = 30  # of a failed step, in the report
REMARK_LENGTH = 200
TEXT_SUFFIXES = {".md", ".csv", ".json", ".log", ".out", ".html", ".tex", ".svg"}
SUFFIXES = {*TEXT_SUFFIXES, ".png"}
# Files of a run folder with its tables, logs and figures.
RUN_FILES = (
    *(RunFolder.results, RunFolder.summary, RunFolder.metrics, RunFolder.calibration, RunFolder.detection),
    *(RunFolder.overlays, RunFolder.curves, RunFolder.split, RunFolder.record, RunFolder.log),
)


def path_names(kit: Kit) -> dict[Path, str]:
    """Return the names that replace local folders in all texts."""
    folders = {kit.data: "DATA", kit.work: "WORK", REPOSITORY: "mammoseg", Path(tempfile.gettempdir()): "TMP"}
    return {path: name for folder, name in folders.items() for path in (folder, folder.resolve())} | {
        Path.home(): "HOME"
    }


def read_output(path: Path, kit: Kit) -> str:
    """Return the output of a command without local paths; empty if there is none."""
    if not path.is_file():
        return ""
    return without_paths(path.read_text(encoding="utf-8", errors="replace"), path_names(kit)).strip()


def last_line(text: str) -> str:
    """Return the last line that is not empty, shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:REMARK_LENGTH] if lines else ""


def cell(text: str) -> str:
    """Return a text for a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def summary_table(steps: Sequence[Step], kit: Kit) -> str:
    """Return the table with status, duration and key figure of each step."""
    rows = ["| step | status | duration | key figure or remark |", "|---|---|---|---|"]
    for step in steps:
        state: StepState = kit.state[step.name]
        duration = f"{state.seconds:.0f} s" if state.seconds else "–"
        rows.append(f"| {step.name} | {state.status} | {duration} | {cell(state.remark)} |")
    return "\n".join(rows)


def section(step: Step, kit: Kit) -> str:
    """Return the section of a step: its output and, if it failed, the end of its log."""
    state = kit.state[step.name]
    parts = [f"## {step.title}"]
    summary = kit.run_folder(step.run).summary if step.run else None
    output = read_output(summary or kit.output(step.name), kit)
    if output and step.name in ("tests", "prepare"):  # plain text
        output = f"```\n{output}\n```"
    if output and step.name != "calibration":
        parts.append(re.sub(r"^#", "###", output, flags=re.MULTILINE))  # headings below that of the step
    if state.status is StepStatus.FAILED and (log := read_output(kit.log(step.name), kit)):
        parts.append("\n".join(["The end of the log:", "", "```", *log.splitlines()[-LOG_LINES:], "```"]))
    return "\n\n".join(parts) if len(parts) > 1 else ""


def training_remark(plan: Mapping[str, object]) -> str:
    """Return a sentence about the training runs."""
    if not plan:
        return ""
    return (
        f"Training runs: {plan['epochs']} epochs each, the learning rate is halved every {plan['lr_decay_epochs']} "
        f"epochs ({plan['remark']})."
    )


def write_report(steps: Sequence[Step], kit: Kit, out: Path) -> None:
    """Write gpu.md and gpu_files.zip.

    Args:
        steps: All steps.
        kit: Folders and state.
        out: Output folder.
    """
    state = kit.state
    versions = ", ".join(f"{name} {value}" for name, value in state.environment.items() if name != "device")
    parts = [
        "# Benchmarks on a GPU",
        f"`make gpu` on {state.environment.get('device', 'an unknown device')}; {versions}. "
        f"Slices: {len(state.slices)}, in total {sum(state.slices) / 60:.1f} minutes.",
        summary_table(steps, kit),
        training_remark(state.plan),
        *(section(step, kit) for step in steps if state[step.name].status is not StepStatus.PENDING),
    ]
    with atomic_write(out / "gpu_files.zip", "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in result_files(steps, kit):
            if path.suffix in TEXT_SUFFIXES:
                archive.writestr(name, read_output(path, kit) + "\n")
            else:
                archive.write(path, name)
    atomic_write_text(out / "gpu.md", "\n\n".join(part for part in parts if part) + "\n")


def result_files(steps: Sequence[Step], kit: Kit) -> Iterator[tuple[str, Path]]:
    """Yield the name in the archive and the path of each table, log and figure."""
    for step in steps:
        for path in (kit.output(step.name), kit.log(step.name)):
            if path.is_file():
                yield f"logs/{path.name}", path
    for name in (*METHODS, "calibration"):
        folder = kit.run_folder(name).path
        for run_file in RUN_FILES:
            if (path := folder / run_file.name).is_file():
                yield f"runs/{name}/{run_file.name}", path
    for path in sorted((kit.work / "comparison").rglob("*")):
        if path.is_file() and path.suffix in SUFFIXES:
            yield f"comparison/{path.relative_to(kit.work / 'comparison').as_posix()}", path
