"""CLAIM checklist of a comparison."""

from __future__ import annotations

import re
from pathlib import Path

from hydra import compose, initialize_config_dir

from helpers.results_files import rows_of, write_run
from mammoseg.compare.claim import SECTIONS, TO_DO
from mammoseg.compare.report import write_comparison_reports
from mammoseg.conf import conf_dir


def items(folder: Path) -> dict[int, str]:
    """The answers of the checklist by item."""
    lines = (folder / "claim.md").read_text(encoding="utf-8").splitlines()
    cells = [re.fullmatch(r"\| (\d+) \| [^|]+ \| (.*) \|", line) for line in lines]
    return {int(found[1]): found[2] for found in cells if found}


def test_the_sections_contain_the_44_items_in_their_order() -> None:
    numbers = [first + index for first, titles in SECTIONS.values() for index in range(len(titles))]
    assert numbers == list(range(1, 45))


def test_the_checklist_contains_facts_of_the_runs_and_leaves_the_others_to_the_authors(tmp_path: Path) -> None:
    for method in ("au_net", "density_asp"):
        for seed in (0, 1):
            rows = rows_of(method, quality=0.7, seed=seed, dataset="cbis_ddsm")
            settings = {"encoder_weights": "0" * 64} if method == "density_asp" else None
            write_run(tmp_path / f"{method}{seed}", rows, settings)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("compare", ["runs=runs", "resamples=200", "primary=sensitivity"])
    (report,) = write_comparison_reports([tmp_path], tmp_path / "out", cfg)
    answers = items(report.parent)
    rows = rows_of("au_net", quality=0.7, seed=0, dataset="cbis_ddsm")
    assert list(answers) == list(range(1, 45))
    assert answers[7].startswith("trained on cbis_ddsm; tested on cbis_ddsm")
    assert f"{len(rows)} images of {len({row['patient'] for row in rows})} patients" in answers[35]
    assert "AU-Net" in answers[22]
    assert "Density-ASP" in answers[22]
    missed = [
        [
            row["tp"] == 0
            for row in rows_of("au_net", quality=0.7, seed=seed, dataset="cbis_ddsm")
            if row["tp"] + row["fn"]
        ]
        for seed in (0, 1)
    ]
    share = 100 * sum(sum(images) / len(images) for images in missed) / 2
    assert f"mean over the runs: AU-Net {share:.1f} %" in answers[39]
    assert answers[24].startswith("random (AU-Net); pretrained weights (Density-ASP)")
    assert answers[28].endswith("primary: Sensitivity")
    assert "Holm" in answers[29]
    assert all(answers[number] == TO_DO for number in (1, 2, 3, 4, 11, 14, 33, 40, 41, 44))
