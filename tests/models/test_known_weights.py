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


@pytest.mark.parametrize("digest", [None, "0" * 64])
def test_other_weights_have_no_credit(digest: str | None) -> None:
    assert find_weights({"encoder_weights": digest}) is None
    dataset = {"name": "cbis_ddsm", "reader": {}}
    assert credit_section({"dataset": dataset, "encoder_weights": digest}) == CBIS_DDSM.credit
