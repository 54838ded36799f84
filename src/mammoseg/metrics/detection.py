"""Lesion detection: candidates, their matching with masses, and free-response ROC (FROC) analysis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mammoseg import validate
from mammoseg.metrics.regions import LabelImage, Region, label_regions, measure_regions

FP_RATES = (0.25, 0.5, 1.0, 2.0, 4.0)  # false positives per image for which the sensitivity is reported
MATCHINGS = ("centre", "iou")


@dataclass(frozen=True)
class MatchingRule:
    """Rule by which candidates are detected and matched with masses.

    A candidate is a connected region of pixels with a probability above a threshold. Its score is the highest
    probability in the region.

    Attributes:
        prob_threshold: Probability threshold of the candidates. None uses the threshold of the run, so that the
            candidates are the regions of its predicted masks. A lower threshold gives more candidates, but also merges
            regions that are connected by low probabilities.
        matching: "centre" if the centroid of a candidate must lie within the mass, the usual rule in computer-aided
            detection for mammography (e.g. Ribli et al., Scientific Reports 8:4165, 2018); "iou" if the intersection
            over union must be at least `iou_threshold`.
        iou_threshold: Minimum intersection over union (Jaccard index) of a match; 0.2 in Dhungel et al., Medical Image
            Analysis 37, 2017.

    Raises:
        UserError: If an attribute is invalid.
    """

    prob_threshold: float | None = None
    matching: str = "centre"
    iou_threshold: float = 0.2

    def __post_init__(self) -> None:
        validate.one_of("detection.matching", self.matching, MATCHINGS)
        if self.prob_threshold is not None:
            validate.probability("detection.prob_threshold", self.prob_threshold)
        validate.fraction("detection.iou_threshold", self.iou_threshold)

    @property
    def description(self) -> str:
        """Text that completes the sentence "A candidate is a true positive if ..."."""
        if self.matching == "centre":
            return "its centroid lies within a mass"
        return f"its intersection over union with a mass is at least {self.iou_threshold:g}"


@dataclass(frozen=True)
class Candidate:
    """A candidate detection.

    Attributes:
        x: Column of the centroid in pixels; the centre of the top left pixel is at (0, 0).
        y: Row of the centroid in pixels.
        area: Number of pixels.
        score: Highest probability in the region.
        mean: Mean probability in the region.
        hits: Labels (1 to the number of masses) of the matched masses; empty for a false positive.
    """

    x: float
    y: float
    area: int
    score: float
    mean: float
    hits: tuple[int, ...]


def detect(
    prob: NDArray[np.float32], mask: NDArray[np.bool_], rule: MatchingRule, threshold: float
) -> tuple[list[Candidate], int]:
    """Find the candidates in an image and match them with its masses.

    Args:
        prob: Predicted probability of shape (H, W) in [0, 1].
        mask: Ground truth of shape (H, W); each connected region is a mass.
        rule: Rule for candidates and matches.
        threshold: Threshold of the run in (0, 1), used if `rule.prob_threshold` is None.

    Returns:
        Candidates, sorted by decreasing score, and number of masses.

    Example:
        >>> import numpy as np
        >>> prob = np.zeros((8, 8), np.float32)
        >>> prob[2:4, 2:4] = 0.75
        >>> (candidate,), n_masses = detect(prob, prob > 0, MatchingRule(), threshold=0.5)
        >>> (candidate.score, candidate.hits, n_masses)
        (0.75, (1,), 1)
    """
    masses = label_regions(mask)
    candidates = find_candidates(prob, rule, threshold, lambda region, image: matches(region, image, masses, rule))
    return candidates, len(masses)


def detect_marked(
    prob: NDArray[np.float32], masks: Sequence[NDArray[np.bool_]], rule: MatchingRule, threshold: float
) -> list[Candidate]:
    """Find the candidates in an image and match them with masses that are marked by boxes or circles.

    Unlike the outlines in `detect`, boxes may overlap, so a candidate may match several masses.

    Args:
        prob: Predicted probability of shape (H, W) in [0, 1].
        masks: Pixels of the box or circle of each mass, (H, W); each is connected.
        rule: Rule for candidates and matches.
        threshold: See `detect`.

    Returns:
        Candidates, sorted by decreasing score; their hits are the indices of `masks`, starting at 1.

    Example:
        >>> import numpy as np
        >>> prob = np.zeros((8, 8), np.float32)
        >>> prob[2:4, 2:4] = 0.75
        >>> box = prob > 0
        >>> (candidate,) = detect_marked(prob, [box, np.ones((8, 8), bool)], MatchingRule(), threshold=0.5)
        >>> candidate.hits
        (1, 2)
    """
    labelled = [label_regions(mask) for mask in masks]

    def hits(region: Region, image: LabelImage) -> tuple[int, ...]:
        return tuple(index for index, mass in enumerate(labelled, start=1) if matches(region, image, mass, rule))

    return find_candidates(prob, rule, threshold, hits)


def find_candidates(
    prob: NDArray[np.float32],
    rule: MatchingRule,
    threshold: float,
    hits: Callable[[Region, LabelImage], tuple[int, ...]],
) -> list[Candidate]:
    """Find the candidates in an image.

    Args:
        prob: Predicted probability of shape (H, W) in [0, 1].
        rule: Rule for candidates.
        threshold: See `detect`.
        hits: Returns the masses that match a region of a label image.

    Returns:
        Candidates, sorted by decreasing score.
    """
    cutoff = threshold if rule.prob_threshold is None else rule.prob_threshold
    image = label_regions(prob > np.float32(cutoff))
    candidates = [
        Candidate(region.x, region.y, region.area, region.max_prob, region.mean_prob, hits(region, image))
        for region in measure_regions(image, prob)
    ]
    return sorted(candidates, key=lambda candidate: (-candidate.score, candidate.y, candidate.x))


def count_detections(prob: NDArray[np.float32], mask: NDArray[np.bool_], threshold: float) -> tuple[int, int, int]:
    """Count the masses of an image, those that are found, and the false positives.

    A region of the predicted mask is a true positive if its centroid lies within a mass.

    Args:
        prob: Predicted probability of shape (H, W) in [0, 1].
        mask: Ground truth of shape (H, W); each connected region is a mass.
        threshold: Threshold of the predicted mask in (0, 1).

    Returns:
        Numbers of masses, of masses that are found and of false positives.
    """
    candidates, n_masses = detect(prob, mask, MatchingRule(), threshold)
    found = {label for candidate in candidates for label in candidate.hits}
    return n_masses, len(found), sum(not candidate.hits for candidate in candidates)


def matches(region: Region, image: LabelImage, masses: LabelImage, rule: MatchingRule) -> tuple[int, ...]:
    """Find the masses that match a candidate.

    Args:
        region: The candidate.
        image: Label image of the candidates.
        masses: Label image of the masses.
        rule: Rule for matches.

    Returns:
        Labels of the matched masses.
    """
    if rule.matching == "centre":
        label = int(masses.labels[round(region.y), round(region.x)])
        return (label,) if label else ()
    window = image.window(region.label)
    mass_labels = masses.labels[window][image.labels[window] == region.label]
    intersection = np.bincount(mass_labels, minlength=len(masses) + 1)[1:]
    iou = intersection / (masses.areas + region.area - intersection)
    return tuple((np.flatnonzero(iou >= rule.iou_threshold) + 1).tolist())


@dataclass(frozen=True)
class Froc:
    """Free-response receiver operating characteristic (FROC).

    Attributes:
        lesion_scores: Highest score of the candidates that match each mass; -inf for masses without a match. Further
            candidates that match the same mass count neither as true nor as false positives.
        fp_scores: Scores of the candidates that match no mass, in the images that count.
        images: Number of images on which false positives are counted.

    Example:
        >>> hit, false_positive = Candidate(2, 2, 9, 0.9, 0.8, hits=(1,)), Candidate(5, 5, 4, 0.6, 0.6, hits=())
        >>> froc = Froc.from_detections([([hit, false_positive], 1), ([], 1)])
        >>> froc.sensitivity(fp_rate=0.5)
        0.5
    """

    lesion_scores: NDArray[np.float64]
    fp_scores: NDArray[np.float64]
    images: int

    @classmethod
    def from_detections(
        cls, detections: Sequence[tuple[Sequence[Candidate], int]], fp_on_negatives: bool = False
    ) -> Froc:
        """Create the FROC curve from the results of `detect`, one per image.

        Args:
            detections: Candidates and number of masses of each image.
            fp_on_negatives: Whether false positives are counted on the images without a mass only, the usual convention
                for test sets with such images (Chakraborty and Berbaum, Medical Physics 31(8), 2004).
        """
        lesion_scores = [
            max((candidate.score for candidate in candidates if label in candidate.hits), default=-np.inf)
            for candidates, n_masses in detections
            for label in range(1, n_masses + 1)
        ]
        counted = [candidates for candidates, n_masses in detections if n_masses == 0 or not fp_on_negatives]
        fp_scores = [candidate.score for candidates in counted for candidate in candidates if not candidate.hits]
        return cls(np.array(lesion_scores, float), np.array(fp_scores, float), len(counted))

    def sensitivity(self, fp_rate: float) -> float:
        """Return the highest sensitivity with at most `fp_rate` false positives per image.

        The curve is not interpolated: operating points are score thresholds.

        Args:
            fp_rate: Maximum number of false positives per image.

        Returns:
            Fraction of masses with a matching candidate, in [0, 1]; NaN without masses, or without images on which a
            finite number of false positives is counted.
        """
        if not len(self.lesion_scores) or (not self.images and np.isfinite(fp_rate)):
            return float("nan")
        max_fp = int(min(fp_rate * self.images, len(self.fp_scores))) if self.images else 0
        fp_scores_desc = np.sort(self.fp_scores)[::-1]
        score_cutoff = fp_scores_desc[max_fp] if max_fp < len(fp_scores_desc) else -np.inf
        return float((self.lesion_scores > score_cutoff).mean())

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the points of the FROC curve, starting at (0, 0).

        Returns:
            False positives per image and sensitivity, for score thresholds from the highest to the lowest.
        """
        matched = self.lesion_scores[self.lesion_scores > -np.inf]
        scores = np.unique(np.concatenate([matched, self.fp_scores]))[::-1]
        fp = [np.count_nonzero(self.fp_scores >= score) for score in scores]
        tp = [np.count_nonzero(self.lesion_scores >= score) for score in scores]
        return np.array([0, *fp]) / max(self.images, 1), np.array([0, *tp]) / max(len(self.lesion_scores), 1)
