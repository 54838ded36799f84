"""Run folders with results as `mammoseg.train` leaves them, drawn instead of trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    """Images of images/2 patients; masses depend on the fold alone, how well they are found on `quality`."""
    truth = np.random.default_rng([masses_seed, int(fold or 0)])
    luck = np.random.default_rng([len(method), seed, int(100 * quality)])
    about: dict[str, Any] = {
        "run": f"{method}-{fold}-{seed}",
        "experiment": experiment,
        "dataset": dataset,
        "method": method,
    }
    about |= {"model": "au_net", "loss": method, "fold": fold, "seed": seed}
    rows = []
    for number in range(images):
        area = int(truth.integers(20, 300))
        tp = round(area * float(np.clip(luck.normal(quality, 0.15), 0, 1)))
        fp = int(luck.integers(0, 60))
        counts = [tp, fp, area - tp, PIXELS - area - fp]
        place = {"case": f"f{fold}i{number}", "patient": f"f{fold}p{number // 2}", "side": "L", "view": "CC"}
        rows.append(
            {
                **about,
                **place,
                "density": 1 + number % 4,
                **dict(zip(results.COUNTS, counts, strict=True)),
            }
        )
    return results.with_metrics(rows)


def write_run(folder: Path, rows: list[dict[str, Any]], settings: Mapping[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True)
    results.write_results(folder / "results.csv", rows)
    known = {"loss": {"alpha": 2.0}, "trainer": {"max_epochs": 3}, "model": {"width": 2}}
    record = {"about": {}, "settings": {**known, **(settings or {})}, "score": 0.5, "minutes": 1.5}
    (folder / "run.json").write_text(json.dumps(record))
    return folder
