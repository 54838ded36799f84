"""Candidates, hits and FROC, by hand and against MONAI's code of the CAMELYON16 challenge."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from monai.metrics import compute_froc_curve_data
from numpy.typing import NDArray

from mammoseg.errors import UserError
from mammoseg.metrics.detection import Candidate, Froc, MatchingRule, detect


def picture(*squares: tuple[int, int, int, int, float], size: int = 40) -> NDArray[np.float32]:
    """(top, left, height, width, value)"""
    drawn = np.zeros((size, size), np.float32)
    for top, left, height, width, value in squares:
        drawn[top : top + height, left : left + width] = value
    return drawn


MASK = picture((5, 5, 10, 10, 1), (25, 25, 6, 6, 1)) > 0


def test_a_candidate_is_a_region_and_its_score_the_peak() -> None:
    prob = picture((5, 5, 9, 9, 0.6), (6, 6, 1, 1, 0.9), (30, 2, 3, 3, 0.7), (0, 30, 2, 2, 0.4))
    prob[14, 14] = 0.55  # touches the first region at a corner, so it belongs to it
    candidates, masses = detect(prob, MASK, MatchingRule(), threshold=0.5)
    assert masses == 2
    first, second = candidates
    assert (first.area, first.hits) == (82, (1,))
    assert first.score == pytest.approx(0.9)
    assert first.mean == pytest.approx((80 * 0.6 + 0.9 + 0.55) / 82)
    assert (first.x, first.y) == pytest.approx(((81 * 9 + 14) / 82, (81 * 9 + 14) / 82))
    assert (second.x, second.y, second.area, second.hits) == (3, 31, 9, ())
    assert len(detect(prob, MASK, MatchingRule(prob_threshold=0.3), threshold=0.5)[0]) == 3
    assert len(detect(prob, MASK, MatchingRule(prob_threshold=0.65), threshold=0.5)[0]) == 2


def test_the_threshold_itself_is_not_above_it() -> None:
    assert detect(picture((0, 0, 3, 3, 0.5)), MASK, MatchingRule(), threshold=0.5) == ([], 2)


@pytest.mark.parametrize(
    ("square", "centre", "iou"),
    [
        ((5, 5, 10, 10), (1,), (1,)),
        ((8, 8, 4, 4), (1,), ()),  # 16 of 100 pixels
        ((8, 8, 4, 5), (1,), (1,)),  # 20 of 100: 0.2 is enough
        ((5, 10, 10, 12), (), (1,)),  # 50 of 170; its centre lies at column 15.5
        ((0, 0, 40, 40), (), ()),  # everything
        ((24, 24, 8, 8), (2,), (2,)),
    ],
)
def test_hits(square: tuple[int, int, int, int], centre: tuple[int, ...], iou: tuple[int, ...]) -> None:
    prob = picture((*square, 0.8))
    for hit, expected in (("centre", centre), ("iou", iou)):
        (candidate,), _ = detect(prob, MASK, MatchingRule(matching=hit), threshold=0.5)
        assert candidate.hits == expected


def test_one_region_may_cover_two_masses() -> None:
    mask = picture((5, 5, 10, 10, 1), (5, 16, 10, 10, 1)) > 0
    (candidate,), masses = detect(picture((5, 5, 10, 21, 0.8)), mask, MatchingRule(matching="iou"), threshold=0.5)
    assert (candidate.hits, masses) == ((1, 2), 2)


def mark(score: float, *hits: int) -> Candidate:
    return Candidate(0, 0, 1, score, score, hits)


# Four images with 3, 1, 1 and 0 masses. Scores, hits: 0.95 a; 0.9 false; 0.8 b and a again; 0.7 c; 0.6, 0.6 false;
# 0.5 d; 0.4 false. Mass e is never hit.
FOUND = [
    ([mark(0.95, 1), mark(0.9), mark(0.8, 1, 2)], 3),
    ([mark(0.7, 1), mark(0.6)], 1),
    ([mark(0.6), mark(0.5, 1)], 1),
    ([mark(0.4)], 0),
]


def test_froc_by_hand() -> None:
    froc = Froc.from_detections(FOUND)
    assert sorted(froc.lesion_scores.tolist()) == [-math.inf, 0.5, 0.7, 0.8, 0.95]
    # No false positive: only 0.95 counts. One, a quarter per image: down to above 0.6. Two do not come alone.
    for rate, found in ((0, 1), (0.25, 3), (0.5, 3), (0.75, 4), (1, 4), (4, 4), (math.inf, 4)):
        assert froc.sensitivity(rate) == pytest.approx(found / 5), rate
    false, sensitivity = froc.curve()
    np.testing.assert_allclose(false * 4, [0, 0, 1, 1, 1, 3, 3, 4])
    np.testing.assert_allclose(sensitivity * 5, [0, 1, 1, 2, 3, 3, 4, 4])


def test_the_curve_is_that_of_the_camelyon16_challenge() -> None:
    random = np.random.default_rng(0)
    best, false = random.random(30), random.random(50)
    ours = Froc(np.concatenate([best, np.full(7, -np.inf)]), false, images=20)
    # Theirs takes every score but the lowest as "at least", and ends with (0, 0).
    their_false, their_found = compute_froc_curve_data(false, best, num_targets=37, num_images=20)
    theirs = {(round(20 * f), round(37 * s)) for f, s in zip(their_false, their_found, strict=True)}
    points = {(round(20 * f), round(37 * s)) for f, s in zip(*ours.curve(), strict=True)}
    assert len(points) == 81
    assert theirs <= points
    for rate in (0.25, 0.5, 1, 2):
        assert ours.sensitivity(rate) == max(s for f, s in zip(their_false, their_found, strict=True) if f <= rate)


def test_nothing_to_find_and_nothing_found() -> None:
    assert math.isnan(Froc.from_detections([([mark(0.4)], 0)]).sensitivity(1))
    assert Froc.from_detections([([], 2)]).sensitivity(1) == 0
    assert [list(each) for each in Froc.from_detections([([], 2)]).curve()] == [[0], [0]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"matching": "center"},
        {"prob_threshold": 0.0},
        {"prob_threshold": 1},
        {"prob_threshold": "low"},
        {"iou_threshold": 0},
        {"iou_threshold": 1.1},
    ],
)
def test_settings_outside_the_choices_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"detection.{next(iter(wrong))} must be"):
        MatchingRule(**wrong)
