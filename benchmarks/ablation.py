"""Validation DSC of runs that differ from a base configuration in one setting.

python benchmarks/ablation.py FOLDER --base NAME [--last 5] [--csv FILE]

FOLDER contains the run folders NAME-seed0, NAME-seed1, ... of each configuration. The table has the settings that
differ from the base, the validation DSC (pooled, in %) of the best epoch of each seed, and the mean over the last
epochs, which is not the result of a selection. The difference is the mean over the seeds that the base has as well.
Test results are not read.
"""

from __future__ import annotations

import argparse
import csv
import re
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammoseg.loggers.csv_history import read_rows
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import Status, read_record
from mammoseg.runs.settings import Role, select

NAME = re.compile(r"(.+)-seed(\d+)")
MAX_LENGTH, MAX_CHANGES = 40, 4  # of a value, and of the list of changes, in the table


@dataclass(frozen=True)
class Run:
    """Seed, settings, number of parameters, duration, and validation DSC of each epoch of a run."""

    seed: int
    settings: Mapping[str, Any]
    parameters: int | None
    minutes: float | None
    dsc: Sequence[float]

    @classmethod
    def read(cls, folder: Path) -> Run | None:
        """Read a run folder; None if the run is not finished."""
        record = read_record(RunFolder(folder))
        if record is None or record.status is not Status.FINISHED:
            return None
        dsc = [100 * float(row["val/dsc"]) for row in read_rows(RunFolder(folder).metrics) if "val/dsc" in row]
        return cls(
            record.settings["seed"],
            select(record.settings, Role.METHOD, Role.COMPUTE),
            record.parameters,
            record.minutes,
            dsc,
        )


def differences(settings: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """Return the settings that differ from those of the base as `key=value`."""
    changed = []
    for key in sorted({*settings, *base}):
        if settings.get(key) != base.get(key):
            value = str(settings.get(key))
            changed.append(f"`{key}={value}`" if len(value) <= MAX_LENGTH else f"`{key}`")
    more = [f"{len(changed) - MAX_CHANGES} more"] if len(changed) > MAX_CHANGES else []
    return ", ".join(changed[:MAX_CHANGES] + more)


def row(name: str, runs: Sequence[Run], base: Sequence[Run], last: int) -> str:
    """Return the row of a configuration."""
    best = [max(run.dsc) for run in runs]
    base_best = {run.seed: max(run.dsc) for run in base}
    gains = [max(run.dsc) - base_best[run.seed] for run in runs if run.seed in base_best]
    final = statistics.mean(statistics.mean(run.dsc[-last:]) for run in runs)
    minutes = [run.minutes for run in runs if run.minutes is not None]
    cells = [
        name,
        differences(runs[0].settings, base[0].settings),
        f"{runs[0].parameters:,}" if runs[0].parameters else "",
        " ".join(f"{value:.2f}" for value in best),
        f"{statistics.mean(best):.2f}",
        f"{statistics.mean(gains):+.2f}" if gains and runs is not base else "",
        f"{final:.2f}",
        f"{statistics.mean(minutes):.0f}" if minutes else "",
    ]
    return f"| {' | '.join(cells)} |"


def write_epochs(path: Path, runs: Mapping[str, Sequence[Run]]) -> None:
    """Write the validation DSC in % of each epoch of each run."""
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("configuration", "seed", "epoch", "validation_dsc"))
        for name, group in runs.items():
            for run in group:
                for epoch, dsc in enumerate(run.dsc):
                    writer.writerow((name, run.seed, epoch, f"{dsc:.4f}"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base", required=True, help="name of the base configuration")
    parser.add_argument("--last", type=int, default=5, help="number of last epochs to average")
    parser.add_argument("--csv", type=Path, help="also write the validation DSC of each epoch to this file")
    args = parser.parse_args()
    runs: dict[str, list[Run]] = defaultdict(list)
    for folder in sorted(args.folder.iterdir()):
        if (match := NAME.fullmatch(folder.name)) and (run := Run.read(folder)):
            runs[match[1]].append(run)
    if args.base not in runs:
        parser.error(f"{args.folder} contains no finished run {args.base}-seed<number>")
    if args.csv is not None:
        write_epochs(args.csv, runs)
    columns = ("configuration", "changes", "parameters", "validation DSC of the seeds", "mean", "difference")
    print(f"| {' | '.join((*columns, f'mean of the last {args.last} epochs', 'minutes'))} |")
    print(f"|{'---|' * (len(columns) + 2)}")
    best = {name: statistics.mean(max(run.dsc) for run in group) for name, group in runs.items()}
    for name in sorted(runs, key=lambda name: (name != args.base, -best[name])):
        print(row(name, runs[name], runs[args.base], args.last))


if __name__ == "__main__":
    main()
