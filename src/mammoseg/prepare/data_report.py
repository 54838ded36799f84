"""Report on a prepared store: data_report.json, data_report.md and figures for quality control."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mammoseg.data.known_datasets import KnownDataset
from mammoseg.data.store import Case, PreparedStore
from mammoseg.density import ACRDensity
from mammoseg.files import atomic_write_text
from mammoseg.reports.table import MISSING
from mammoseg.statistics.agreement import confusion_matrix, quadratic_kappa

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SETTINGS = ("size", "crop", "aspect", "normalise", "flip", "density", "missing_density", "density_model")
OPTIONAL_SETTINGS = ("negatives",)  # stored if only a fraction of the images without a mass is used
# Of a mass; in CBIS-DDSM, the smallest fraction is 0.76. Below it, the mask may belong to another image.
MIN_MASS_IN_BREAST = 0.5
MAX_NAMES = 5  # names in one cell of the table
Report = dict[str, Any]  # content of data_report.json


def write_data_report(store: PreparedStore, datasets: Sequence[KnownDataset] = ()) -> Report:
    """Write all files of the report into the folder of the store.

    Args:
        store: The prepared store.
        datasets: Datasets of the images, whose license, source and citation are stated.

    Returns:
        The content of data_report.json.
    """
    from mammoseg.prepare import data_figures

    report = {**summarise_store(store), "sources": [describe_dataset(dataset) for dataset in datasets]}
    atomic_write_text(store.folder / "data_report.json", json.dumps(report, indent=1) + "\n")
    atomic_write_text(store.folder / "data_report.md", report_to_markdown(report))
    data_figures.draw_contact_sheet(store, store.folder / "contact_sheet.png")
    data_figures.draw_densities(store, store.folder / "density.png")
    data_figures.draw_mass_sizes(store, store.folder / "mass_size.png")
    data_figures.draw_examples(store, store.folder / "examples.png")
    return report


def describe_dataset(dataset: KnownDataset) -> dict[str, str]:
    """Return title, conditions of use, source and citation of a dataset."""
    return {name: getattr(dataset, name) for name in ("title", "conditions", "source", "citation")}


def summarise_store(store: PreparedStore) -> Report:
    """Compute the content of data_report.json; the keys are those of version 0.1."""
    cases = store.cases
    with_mass = [case for case in cases if case.has_mass]
    counts = count_images(cases)
    if len(with_mass) < len(cases):
        counts |= {"images with a mass": len(with_mass), "images without a mass": len(cases) - len(with_mass)}
    return {
        "dataset": store.about["dataset"],
        "counts": counts,
        "published": compare_with_published(
            count_images(with_mass) | store.about.get("found", {}), store.about["published"]
        ),
        "remark": store.about["remark"],
        "density": {str(category): sum(case.density == category for case in cases) for category in ACRDensity},
        "density_agreement": density_agreement(cases),
        "views": count_values(case.view or "unknown" for case in cases),
        "sides": count_values(case.side or "unknown" for case in cases),
        "masses_per_image": count_values(str(case.masses) for case in cases),
        "mass_percent_of_prepared_image": quantiles(100 * store.mass_fraction[store.mass_fraction > 0]),
        "mass_percent_of_full_image": quantiles(
            100 * case.mass_area / (case.height * case.width) for case in with_mass if not case.detection_only
        ),
        "breast_percent_of_full_image": quantiles(100 * case.breast_fraction for case in cases),
        "images_without_mass": [case.case for case in cases if not case.has_mass],
        "images_for_detection_only": [case.case for case in cases if case.detection_only],
        "masks_with_labels": [case.case for case in cases if case.mask_labels > 1],
        "masses_outside_breast": [case.case for case in cases if case.mass_in_breast < MIN_MASS_IN_BREAST],
        "ignored": dict(store.about.get("ignored", {})),
        "kept_whole": [case.case for case in cases if case.crop_skipped],
        "masks_rescaled": [case.case for case in cases if case.mask_resized],
        "flipped": sum(case.flipped for case in cases),
        "skipped": [{"file": file, "reason": reason} for file, reason in store.skipped],
        "settings": {name: store.about[name] for name in (*SETTINGS, *OPTIONAL_SETTINGS) if name in store.about},
    }


def count_images(cases: Sequence[Case]) -> dict[str, int]:
    """Count the images, their masses and patients, and the images in each official part."""
    parts = count_values(case.split for case in cases)
    return {
        "images": len(cases),
        "masses": sum(case.masses for case in cases),
        "patients": len({case.patient for case in cases}),
        **{f"{part} images": count for part, count in parts.items() if part},
    }


def count_values(values: Iterable[str]) -> dict[str, int]:
    """Count the occurrences of each value, sorted by value.

    Example:
        >>> count_values(["MLO", "CC", "MLO"])
        {'CC': 1, 'MLO': 2}
    """
    return dict(sorted(Counter(values).items()))


def quantiles(values: Iterable[float]) -> dict[str, float]:
    """Return minimum, `QUANTILES` and maximum, rounded to four decimals; nothing without values.

    Example:
        >>> quantiles([1, 2, 3])["50 %"]
        2.0
    """
    array = np.array(list(values))
    if not len(array):
        return {}
    named = {f"{100 * q:.0f} %": float(np.quantile(array, q)) for q in QUANTILES}
    return {name: round(value, 4) for name, value in {"min": array.min(), **named, "max": array.max()}.items()}


def compare_with_published(counts: Mapping[str, int], published: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Compare the counts of the store with the published counts of the dataset.

    Args:
        counts: Counts of the images of the store that have a mass, and numbers found by the reader, by name.
        published: Published counts, by name.

    Returns:
        For each published count: `published`, `here` (the count of the store or of the reader) and `difference`.
    """
    return {
        name: {"published": count, "here": counts.get(name, 0), "difference": counts.get(name, 0) - count}
        for name, count in published.items()
    }


def density_agreement(cases: Sequence[Case]) -> Report | None:
    """Compare the estimated ACR density with that of the dataset.

    Args:
        cases: Rows of the store; those without a density in the dataset are ignored.

    Returns:
        Number of images, quadratically weighted kappa, accuracy (`same_category`) and confusion matrix (rows: dataset,
        columns: estimate); None if no image has a density.
    """
    pairs = [(case.given_density, case.estimated_density) for case in cases if case.given_density is not None]
    if not pairs:
        return None
    confusion = confusion_matrix(*zip(*pairs, strict=True))
    return {
        "images": len(pairs),
        "quadratic_kappa": round(quadratic_kappa(confusion), 4),
        "same_category": round(float(np.trace(confusion) / len(pairs)), 4),
        "confusion": confusion.tolist(),
    }


def report_rows(report: Report) -> list[tuple[str, str]]:
    """Return the report as (label, value) rows, for the terminal and for Markdown."""
    rows = [(name, str(count)) for name, count in report["counts"].items()]
    for name, comparison in report["published"].items():
        difference = f"{comparison['difference']:+d}" if comparison["difference"] else "as published"
        place = "in store" if name in report["counts"] else "found"  # the latter are numbers of the reader
        rows.append((f"{name}, published", f"{comparison['published']}; {place}: {comparison['here']} ({difference})"))
    rows += source_rows(report)
    if report["remark"]:
        rows.append(("note", report["remark"]))
    rows += [
        ("ACR density", format_counts(report["density"])),
        ("views", format_counts(report["views"])),
        ("sides", format_counts(report["sides"])),
        ("masses per image", format_counts(report["masses_per_image"])),
        ("mass, % of the preprocessed image", format_quantiles(report["mass_percent_of_prepared_image"])),
        ("mass, % of the full image", format_quantiles(report["mass_percent_of_full_image"])),
        ("breast, % of the full image", format_quantiles(report["breast_percent_of_full_image"])),
    ]
    if (agreement := report["density_agreement"]) is not None:
        accuracy = f"same category {100 * agreement['same_category']:.1f} %"
        value = f"quadratic kappa {agreement['quadratic_kappa']:.3f}, {accuracy} of {agreement['images']}"
        rows.append(("density: estimate vs. dataset", value))
        for category, counts in zip(ACRDensity, agreement["confusion"], strict=True):
            rows.append((f"  dataset {category}, estimate 1-4", " ".join(f"{count:4d}" for count in counts)))
    rows += [
        ("images without a mass", summarise_names(report["images_without_mass"])),
        ("images with boxes or circles only, for detection", summarise_names(report["images_for_detection_only"])),
        ("masks with several labels, all taken as mass", summarise_names(report["masks_with_labels"])),
        ("masses mostly outside the breast", summarise_names(report["masses_outside_breast"])),
        *((f"ignored: {annotation}", str(count)) for annotation, count in report["ignored"].items()),
        ("crop skipped (would cut a mass)", summarise_names(report["kept_whole"])),
        ("masks resized to their image", summarise_names(report["masks_rescaled"])),
        ("skipped", summarise_names([f"{row['file']}: {row['reason']}" for row in report["skipped"]])),
    ]
    return rows


def source_rows(report: Report) -> list[tuple[str, str]]:
    """Return source, license and citation of each dataset as (label, value) rows."""
    labels = {"source": "source", "conditions": "license", "citation": "citation"}
    return [
        (f"{source['title']}, {label}", source[name])
        for source in report.get("sources", [])
        for name, label in labels.items()
        if source[name]
    ]


def format_counts(counts: Mapping[str, int]) -> str:
    """Format counts by name.

    Example:
        >>> format_counts({"CC": 1, "MLO": 2})
        'CC: 1, MLO: 2'
    """
    return ", ".join(f"{name}: {count}" for name, count in counts.items())


def format_quantiles(values: Mapping[str, float]) -> str:
    """Format the output of `quantiles`.

    Example:
        >>> format_quantiles({"min": 0.51234, "max": 2.0})
        'min 0.512, max 2'
    """
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items()) or MISSING


def summarise_names(names: Sequence[str]) -> str:
    """Format the number of names and the first `MAX_NAMES` of them.

    Example:
        >>> summarise_names(["a", "b"])
        '2 (a; b)'
    """
    if not names:
        return "0"
    more = f"; and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{len(names)} ({'; '.join(names[:MAX_NAMES])}{more})"


def report_to_markdown(report: Report) -> str:
    """Format the report as a Markdown table."""
    rows = [f"| {label.strip()} | {value} |" for label, value in report_rows(report)]
    return "\n".join([f"# {report['dataset']}", "", "| | |", "|---|---|", *rows]) + "\n"


def print_data_report(report: Report, folder: Path) -> None:
    """Print the report and the location of its files to the terminal.

    Args:
        report: Content of data_report.json.
        folder: Folder of the store.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{report['dataset']}: dataset summary", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")  # addresses have no blanks
    for label, value in report_rows(report):
        table.add_row(label, escape(value))
    console = Console()
    console.print(table)
    console.print(f"store: {folder}", soft_wrap=True)
    console.print("figures: contact_sheet.png, density.png, mass_size.png, examples.png", soft_wrap=True)
