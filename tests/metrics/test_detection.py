"""Candidates, matches and FROC, compared with small examples and MONAI's code of the CAMELYON16 challenge."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from monai.metrics import compute_froc_curve_data
from numpy.typing import NDArray

from mammoseg.errors import UserError
from mammoseg.metrics.detection import Candidate, Froc, MatchingRule, detect, detect_marked


def probability_map(*squares: tuple[int, int, int, int, float], size: int = 40) -> NDArray[np.float32]:
    """Map with rectangles (top, left, height, width, value) on zeros."""
    prob = np.zeros((size, size), np.float32)
    for top, left, height, width, value in squares:
        prob[top : top + height, left : left + width] = value
    return prob


MASK = probability_map((5, 5, 10, 10, 1), (25, 25, 6, 6, 1)) > 0


def test_candidate_is_a_region_with_its_maximum_as_score() -> None:
    prob = probability_map((5, 5, 9, 9, 0.6), (6, 6, 1, 1, 0.9), (30, 2, 3, 3, 0.7), (0, 30, 2, 2, 0.4))
    prob[14, 14] = 0.55  # connected to the first region by a corner
    candidates, n_masses = detect(prob, MASK, MatchingRule(), threshold=0.5)
    assert n_masses == 2
    first, second = candidates
    assert (first.area, first.hits) == (82, (1,))
    assert first.score == pytest.approx(0.9)
    assert first.mean == pytest.approx((80 * 0.6 + 0.9 + 0.55) / 82)
    assert (first.x, first.y) == pytest.approx(((81 * 9 + 14) / 82, (81 * 9 + 14) / 82))
    assert (second.x, second.y, second.area, second.hits) == (3, 31, 9, ())
    assert len(detect(prob, MASK, MatchingRule(prob_threshold=0.3), threshold=0.5)[0]) == 3
    assert len(detect(prob, MASK, MatchingRule(prob_threshold=0.65), threshold=0.5)[0]) == 2


def test_probability_equal_to_the_threshold_is_not_a_candidate() -> None:
    assert detect(probability_map((0, 0, 3, 3, 0.5)), MASK, MatchingRule(), threshold=0.5) == ([], 2)


@pytest.mark.parametrize(
    ("square", "centre", "iou"),
    [
        ((5, 5, 10, 10), (1,), (1,)),
        ((8, 8, 4, 4), (1,), ()),  # 16 of 100 pixels
        ((8, 8, 4, 5), (1,), (1,)),  # 20 of 100 pixels: exactly 0.2
        ((5, 10, 10, 12), (), (1,)),  # 50 of 170 pixels; the centroid is at column 15.5
        ((0, 0, 40, 40), (), ()),  # entire image
        ((24, 24, 8, 8), (2,), (2,)),
    ],
)
def test_matching_rules_determine_the_matched_masses(
    square: tuple[int, int, int, int], centre: tuple[int, ...], iou: tuple[int, ...]
) -> None:
    prob = probability_map((*square, 0.8))
    for matching, expected in (("centre", centre), ("iou", iou)):
        (candidate,), _ = detect(prob, MASK, MatchingRule(matching=matching), threshold=0.5)
        assert candidate.hits == expected


def test_candidate_can_match_two_masses() -> None:
    mask = probability_map((5, 5, 10, 10, 1), (5, 16, 10, 10, 1)) > 0
    (candidate,), n_masses = detect(
        probability_map((5, 5, 10, 21, 0.8)), mask, MatchingRule(matching="iou"), threshold=0.5
    )
    assert (candidate.hits, n_masses) == ((1, 2), 2)


def candidate_of(score: float, *hits: int) -> Candidate:
    return Candidate(0, 0, 1, score, score, hits)


# Four images with 3, 1, 1 and 0 masses, a to e. Scores and matches: 0.95 a; 0.9 none; 0.8 a and b; 0.7 c; 0.6 and 0.6
# none; 0.5 d; 0.4 none. Mass e has no match.
DETECTIONS = [
    ([candidate_of(0.95, 1), candidate_of(0.9), candidate_of(0.8, 1, 2)], 3),
    ([candidate_of(0.7, 1), candidate_of(0.6)], 1),
    ([candidate_of(0.6), candidate_of(0.5, 1)], 1),
    ([candidate_of(0.4)], 0),
]


def test_froc_of_a_small_example_equals_manual_counts() -> None:
    froc = Froc.from_detections(DETECTIONS)
    assert sorted(froc.lesion_scores.tolist()) == [-math.inf, 0.5, 0.7, 0.8, 0.95]
    # Without false positives, only 0.95 counts; with one (0.25 per image), all above 0.6. Because of the tie at 0.6,
    # exactly two false positives are impossible.
    for rate, n_found in ((0, 1), (0.25, 3), (0.5, 3), (0.75, 4), (1, 4), (4, 4), (math.inf, 4)):
        assert froc.sensitivity(rate) == pytest.approx(n_found / 5), rate
    fp_rate, sensitivity = froc.curve()
    np.testing.assert_allclose(fp_rate * 4, [0, 0, 1, 1, 1, 3, 3, 4])
    np.testing.assert_allclose(sensitivity * 5, [0, 1, 1, 2, 3, 3, 4, 4])


def test_froc_curve_contains_all_points_of_monai() -> None:
    rng = np.random.default_rng(0)
    lesion_scores, fp_scores = rng.random(30), rng.random(50)
    froc = Froc(np.concatenate([lesion_scores, np.full(7, -np.inf)]), fp_scores, images=20)
    # MONAI omits the operating point of the lowest score and ends with (0, 0).
    monai_fp, monai_sensitivity = compute_froc_curve_data(fp_scores, lesion_scores, num_targets=37, num_images=20)
    monai_points = {(round(20 * f), round(37 * s)) for f, s in zip(monai_fp, monai_sensitivity, strict=True)}
    points = {(round(20 * f), round(37 * s)) for f, s in zip(*froc.curve(), strict=True)}
    assert len(points) == 81
    assert monai_points <= points
    for rate in (0.25, 0.5, 1, 2):
        assert froc.sensitivity(rate) == max(s for f, s in zip(monai_fp, monai_sensitivity, strict=True) if f <= rate)


def test_sensitivity_is_nan_without_masses_and_0_without_candidates() -> None:
    assert math.isnan(Froc.from_detections([([candidate_of(0.4)], 0)]).sensitivity(1))
    assert Froc.from_detections([([], 2)]).sensitivity(1) == 0
    assert [list(axis) for axis in Froc.from_detections([([], 2)]).curve()] == [[0], [0]]


@pytest.mark.parametrize(
    "invalid",
    [
        {"matching": "center"},
        {"prob_threshold": 0.0},
        {"prob_threshold": 1},
        {"prob_threshold": "low"},
        {"iou_threshold": 0},
        {"iou_threshold": 1.1},
    ],
)
def test_invalid_rule_raises(invalid: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"detection.{next(iter(invalid))} must be"):
        MatchingRule(**invalid)


def test_false_positives_are_counted_on_images_without_a_mass_on_request() -> None:
    negatives = [([candidate_of(0.85), candidate_of(0.3)], 0), ([], 0)]
    froc = Froc.from_detections([*DETECTIONS, *negatives], fp_on_negatives=True)
    assert froc.images == 3
    assert sorted(froc.fp_scores.tolist()) == [0.3, 0.4, 0.85]
    assert froc.lesion_scores.tolist() == Froc.from_detections(DETECTIONS).lesion_scores.tolist()
    # 0.95 is above all false positives; with one false positive in three images, all masses above 0.4 are found.
    assert froc.sensitivity(0) == pytest.approx(1 / 5)
    assert froc.sensitivity(1 / 3) == pytest.approx(4 / 5)


def test_the_rate_of_false_positives_is_undefined_without_images_to_count_them_on() -> None:
    froc = Froc.from_detections([([candidate_of(0.9, 1), candidate_of(0.4)], 1)], fp_on_negatives=True)
    assert math.isnan(froc.sensitivity(4))
    assert froc.sensitivity(math.inf) == 1


def test_overlapping_boxes_are_separate_masses() -> None:
    prob = probability_map((8, 8, 4, 4, 0.9), (0, 30, 5, 5, 0.7))
    boxes = [probability_map(box) > 0 for box in ((5, 5, 12, 12, 1), (9, 9, 20, 20, 1), (30, 0, 5, 5, 1))]
    hit, false_positive = detect_marked(prob, boxes, MatchingRule(), threshold=0.5)
    assert (hit.hits, false_positive.hits) == ((1, 2), ())  # the centroid, (9.5, 9.5), is in both
    by_iou = MatchingRule(matching="iou", iou_threshold=16 / 144)
    assert [candidate.hits for candidate in detect_marked(prob, boxes, by_iou, threshold=0.5)] == [(1,), ()]
    froc = Froc.from_detections([([hit, false_positive], len(boxes))])
    assert froc.sensitivity(0) == pytest.approx(2 / 3)


def test_separate_boxes_are_matched_as_masks_are() -> None:
    prob = probability_map((5, 5, 9, 9, 0.6), (30, 2, 3, 3, 0.7), (24, 26, 4, 4, 0.8))
    masks = [probability_map(square) > 0 for square in ((5, 5, 10, 10, 1), (25, 25, 6, 6, 1))]
    for rule in (MatchingRule(), MatchingRule(matching="iou"), MatchingRule(prob_threshold=0.65)):
        assert detect_marked(prob, masks, rule, 0.5) == detect(prob, masks[0] | masks[1], rule, 0.5)[0]
