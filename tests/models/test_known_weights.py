"""Credit of published encoder weights in the model card."""

from __future__ import annotations

import re

import pytest

from mammoseg.data.known_datasets import CBIS_DDSM
from mammoseg.export.model_card import credit_section
from mammoseg.models.known_weights import BY_DIGEST, find_weights


@pytest.mark.parametrize("digest", BY_DIGEST)
def test_the_model_card_credits_known_weights(digest: str) -> None:
    assert re.fullmatch("[0-9a-f]{64}", digest)
    dataset = {"name": "cbis_ddsm", "reader": {}}
    section = credit_section({"dataset": dataset, "encoder_weights": digest})
    assert section.split("\n\n") == [CBIS_DDSM.credit, BY_DIGEST[digest].credit]


@pytest.mark.parametrize(("digest", "notes"), [(None, 0), ("0" * 64, 1)])
def test_the_credit_of_other_weights_is_unknown(digest: str | None, notes: int) -> None:
    assert find_weights({"encoder_weights": digest}) is None
    dataset = {"name": "cbis_ddsm", "reader": {}}
    credit, *unknown = credit_section({"dataset": dataset, "encoder_weights": digest}).split("\n\n")
    assert credit == CBIS_DDSM.credit
    assert ["license and credit are not known" in note for note in unknown] == [True] * notes
