"""What a prepared store holds: data_report.json and .md, and the pictures by which a person checks it at a glance."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.store import Case, PreparedStore
from mammoseg.density import ACRDensity
from mammoseg.files import atomic_write_text

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SETTINGS = ("size", "crop", "aspect", "normalise", "flip", "density", "missing_density", "density_cuts")
Report = dict[str, Any]


def write(store: PreparedStore) -> Report:
    """Write all files of the report into the store's folder; returns the content of data_report.json."""
    from mammoseg.prepare import data_figures

    report = summary(store)
    atomic_write_text(store.folder / "data_report.json", json.dumps(report, indent=1) + "\n")
    atomic_write_text(store.folder / "data_report.md", markdown(report))
    data_figures.contact_sheet(store, store.folder / "contact_sheet.png")
    data_figures.densities(store, store.folder / "density.png")
    data_figures.mass_sizes(store, store.folder / "mass_size.png")
    data_figures.examples(store, store.folder / "examples.png")
    return report


def summary(store: PreparedStore) -> Report:
    cases = store.cases
    counts: dict[str, int] = {
        "images": len(cases),
        "masses": sum(case.masses for case in cases),
        "patients": len({case.patient for case in cases}),
    }
    counts |= {f"{part} images": number for part, number in tally(case.split for case in cases).items() if part}
    return {
        "dataset": store.about["dataset"],
        "counts": counts,
        "published": against_published(counts, store.about["published"]),
        "remark": store.about["remark"],
        "density": {str(category): sum(case.density == category for case in cases) for category in ACRDensity},
        "density_agreement": agreement(cases),
        "views": tally(case.view or "unknown" for case in cases),
        "sides": tally(case.side or "unknown" for case in cases),
        "masses_per_image": tally(str(case.masses) for case in cases),
        "mass_percent_of_prepared_image": quantiles(100 * share for share in store.mass_fraction),
        "mass_percent_of_full_image": quantiles(100 * case.mass_area / (case.height * case.width) for case in cases),
        "breast_percent_of_full_image": quantiles(100 * case.breast_fraction for case in cases),
        "kept_whole": [case.case for case in cases if case.crop_skipped],
        "masks_rescaled": [case.case for case in cases if case.mask_resized],
        "flipped": sum(case.flipped for case in cases),
        "skipped": [{"file": file, "reason": reason} for file, reason in store.skipped],
        "settings": {name: store.about[name] for name in SETTINGS},
    }


def tally(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def quantiles(values: Iterable[float]) -> dict[str, float]:
    array = np.array(list(values))
    named = {f"{100 * q:.0f} %": float(np.quantile(array, q)) for q in QUANTILES}
    return {name: round(value, 4) for name, value in {"min": array.min(), **named, "max": array.max()}.items()}


def against_published(counts: dict[str, int], published: dict[str, int]) -> dict[str, dict[str, int]]:
    """The dataset's published counts beside ours; a difference is stated, not hidden."""
    return {
        name: {"published": number, "here": counts.get(name, 0), "difference": counts.get(name, 0) - number}
        for name, number in published.items()
    }


def agreement(cases: Sequence[Case]) -> Report | None:
    """Estimated against given density, over the images that have one: rows of `confusion` are the given ones."""
    pairs = [(case.given_density, case.estimated_density) for case in cases if case.given_density is not None]
    if not pairs:
        return None
    confusion = np.zeros((len(ACRDensity), len(ACRDensity)), np.int64)
    for given, estimated in pairs:
        confusion[given.index, estimated.index] += 1
    return {
        "images": len(pairs),
        "quadratic_kappa": round(quadratic_kappa(confusion), 4),
        "same_category": round(float(np.trace(confusion) / len(pairs)), 4),
        "confusion": confusion.tolist(),
    }


def quadratic_kappa(confusion: NDArray[np.int64]) -> float:
    """Cohen's kappa with quadratic weights (Cohen, Psychol. Bull. 70, 1968); NaN if only one category occurs."""
    row, column = np.indices(confusion.shape)
    weight = (row - column) ** 2
    expected = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / confusion.sum()
    chance = (weight * expected).sum()
    return float(1 - (weight * confusion).sum() / chance) if chance else float("nan")


def lines(report: Report) -> list[tuple[str, str]]:
    """The report as (what, value), for the terminal and for Markdown."""

    def joined(counts: dict[str, int]) -> str:
        return ", ".join(f"{name}: {number}" for name, number in counts.items())

    def spread(values: dict[str, float]) -> str:
        return ", ".join(f"{name} {value:.3g}" for name, value in values.items())

    table = [(name, str(number)) for name, number in report["counts"].items()]
    for name, row in report["published"].items():
        verdict = "as published" if not row["difference"] else f"{row['difference']:+d}"
        table.append((f"{name}, published", f"{row['published']}; here {row['here']} ({verdict})"))
    if report["remark"]:
        table.append(("remark", report["remark"]))
    table += [
        ("ACR density", joined(report["density"])),
        ("views", joined(report["views"])),
        ("sides", joined(report["sides"])),
        ("masses per image", joined(report["masses_per_image"])),
        ("mass, % of the prepared image", spread(report["mass_percent_of_prepared_image"])),
        ("mass, % of the full image", spread(report["mass_percent_of_full_image"])),
        ("breast, % of the full image", spread(report["breast_percent_of_full_image"])),
    ]
    if (agreed := report["density_agreement"]) is not None:
        value = f"quadratic kappa {agreed['quadratic_kappa']:.3f}, same category {100 * agreed['same_category']:.1f} %"
        table.append(("estimated against given density", f"{value} of {agreed['images']}"))
        for category, row in zip(ACRDensity, agreed["confusion"], strict=True):
            table.append((f"  given {category}, estimated 1-4", " ".join(f"{number:4d}" for number in row)))
    table += [
        ("kept whole, as the crop would have cut a mass", listed(report["kept_whole"])),
        ("masks of another size, stretched onto the image", listed(report["masks_rescaled"])),
        ("left out", listed([f"{row['file']}: {row['reason']}" for row in report["skipped"]])),
    ]
    return table


def listed(names: Sequence[str], most: int = 5) -> str:
    """The number, and the first few."""
    if not names:
        return "0"
    more = f"; and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} ({'; '.join(names[:most])}{more})"


def markdown(report: Report) -> str:
    rows = [f"| {what.strip()} | {value} |" for what, value in lines(report)]
    return "\n".join([f"# {report['dataset']}", "", "| | |", "|---|---|", *rows]) + "\n"


def show(report: Report, folder: Path) -> None:
    """The table in the terminal, and where the files lie."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report['dataset']}: what was prepared", show_header=False)
    for what, value in lines(report):
        table.add_row(what, value)
    console = Console()
    console.print(table)
    console.print(f"store: {folder}", soft_wrap=True)
    console.print("look at contact_sheet.png, density.png, mass_size.png and examples.png in it", soft_wrap=True)
