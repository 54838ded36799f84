"""Checks of the images of a dataset against each other, for all readers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mammoseg.data.readers.cells import patient_key
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases


def unify_patients(mammograms: Sequence[Mammogram]) -> list[Mammogram]:
    """Give all images of a patient the same identifier: the first spelling of those that differ only in case.

    Otherwise images of P01 and p01 could be in different parts of a split.

    Example:
        >>> images = [Mammogram(case=name, image_file=Path(name), patient=name[:3]) for name in ("P01a", "p01b")]
        >>> [mammogram.patient for mammogram in unify_patients(images)]
        ['P01', 'P01']
    """
    spelling: dict[str, str] = {}
    for mammogram in mammograms:
        spelling.setdefault(patient_key(mammogram.patient), mammogram.patient)
    return [replace(mammogram, patient=spelling[patient_key(mammogram.patient)]) for mammogram in mammograms]


def reject_repeated_images(
    mammograms: Sequence[Mammogram], digests: Mapping[Path, str], rejected: RejectedCases
) -> list[Mammogram]:
    """Reject images that occur in several cases, since their copies would be in different parts of a split.

    Images are compared by the hashes of their files or of their pixels. If the cases of an image differ in patient,
    density, split or masks, all of them are rejected, since it is unknown which one is correct; otherwise the first
    case is accepted.

    Args:
        mammograms: The images.
        digests: Hash of each image and mask file; empty for a missing file.
        rejected: Receives the rejected cases.

    Returns:
        The accepted images, in the same order.
    """
    cases: dict[str, list[Mammogram]] = defaultdict(list)
    for mammogram in mammograms:
        if digest := digests.get(mammogram.image_file):
            cases[digest].append(mammogram)
    reasons: dict[str, str] = {}
    for first, *others in cases.values():
        if not others:
            continue
        differences = contradictions([first, *others], digests)
        if differences:
            reasons[first.case] = f"the same image as case {others[0].case}, but differs in {differences}; remove one"
        for other in others:
            detail = f", but differs in {differences}; remove one" if differences else "; remove one"
            reasons[other.case] = f"the same image as case {first.case}{detail}"
    for mammogram in mammograms:
        if mammogram.case in reasons:
            rejected.add(mammogram.case, reasons[mammogram.case])
    return [mammogram for mammogram in mammograms if mammogram.case not in reasons]


def contradictions(mammograms: Sequence[Mammogram], digests: Mapping[Path, str]) -> str:
    """Return the attributes in which cases of the same image differ, such as "patient, masks", or an empty string."""
    attributes: dict[str, list[Hashable]] = {
        "patient": [mammogram.patient for mammogram in mammograms],
        "density": [mammogram.density for mammogram in mammograms],
        "split": [mammogram.split for mammogram in mammograms],
        "masks": [
            (
                tuple(tuple(digests.get(file, "") for file in files) for files in mammogram.mask_candidates),
                tuple(outline.tobytes() for outline in mammogram.outlines),
                mammogram.locations,
            )
            for mammogram in mammograms
        ],
    }
    return ", ".join(name for name, values in attributes.items() if len(set(values)) > 1)
