"""Run folders with random results in the format of `mammoseg.train`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mammoseg.runs import results

PIXELS = 64 * 64


def rows_of(
    method: str,
    *,
    quality: float,
    fold: int | str = "",
    seed: int = 0,
    images: int = 40,
    dataset: str = "phantom",
    experiment: str = "",
    masses_seed: int = 7,
) -> list[dict[str, Any]]:
    """Random results of `images` images of images/2 patients.

    Masses depend on `fold` and `masses_seed` only; `quality` is the mean fraction of each mass that is found.
    """
    mass_rng = np.random.default_rng([masses_seed, int(fold or 0)])
    prediction_rng = np.random.default_rng([len(method), seed, int(100 * quality)])
    run_info: dict[str, Any] = {
        "run": f"{method}-{fold}-{seed}",
        "experiment": experiment,
        "dataset": dataset,
        "method": method,
    }
    run_info |= {"model": "au_net", "loss": method, "fold": fold, "seed": seed}
    rows = []
    for i in range(images):
        area = int(mass_rng.integers(20, 300))
        tp = round(area * float(np.clip(prediction_rng.normal(quality, 0.15), 0, 1)))
        fp = int(prediction_rng.integers(0, 60))
        counts = [tp, fp, area - tp, PIXELS - area - fp]
        image_info = {"case": f"f{fold}i{i}", "patient": f"f{fold}p{i // 2}", "side": "L", "view": "CC"}
        rows.append(
            {
                **run_info,
                **image_info,
                "density": 1 + i % 4,
                **dict(zip(results.COUNTS, counts, strict=True)),
            }
        )
    return results.with_metrics(rows)


def write_run(
    folder: Path,
    rows: list[dict[str, Any]],
    settings: Mapping[str, Any] | None = None,
    more_columns: Sequence[str] = (),
) -> Path:
    """Write results.csv and run.json into `folder`; `settings` replace the default ones."""
    folder.mkdir(parents=True)
    results.write_results(folder / "results.csv", rows, more_columns)
    defaults = {"loss": {"alpha": 2.0}, "trainer": {"max_epochs": 3}, "model": {"width": 2}}
    record = {"about": {}, "settings": {**defaults, **(settings or {})}, "score": 0.5, "minutes": 1.5}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def row(case: str, density: int, counts: list[int]) -> dict[str, Any]:
    """A row of results.csv with the metrics of the counts."""
    run_info = {
        "run": "r",
        "experiment": "",
        "dataset": "d",
        "method": "m",
        "model": "m",
        "loss": "l",
        "fold": 0,
        "seed": 0,
    }
    image = {"case": case, "patient": "p", "side": "L", "view": "CC", "density": density}
    return results.with_metrics([{**run_info, **image, **dict(zip(results.COUNTS, counts, strict=True))}])[0]


ROWS = [row("a", 1, [30, 10, 20, 40]), row("b", 1, [0, 0, 50, 50]), row("c", 4, [10, 30, 0, 60])]
