"""License and credit in the model card of a network that was fine-tuned."""

from __future__ import annotations

from typing import Any

import pytest

from mammoseg.data.known_datasets import CBIS_DDSM, PHANTOM
from mammoseg.export.card_sources import find_sources
from mammoseg.export.model_card import credit_section, limitations_section
from mammoseg.models.known_weights import BY_DIGEST
from mammoseg.pretrained import registry

NEVER_REAL = "has never seen a real one"


def config(dataset: str, digest: str | None, setting: str = "init_from") -> dict[str, Any]:
    unset = {"init_from": None, "encoder_weights": None}
    return {"dataset": {"name": dataset, "reader": None}, **unset, setting: digest}


@pytest.mark.parametrize("setting", ["init_from", "encoder_weights"])
@pytest.mark.parametrize("model", registry.list_models(), ids=lambda model: model.name)
@pytest.mark.parametrize(("dataset", "license_name"), [("cbis_ddsm", "cc-by-3.0"), ("phantom", "unknown")])
def test_the_sources_of_a_pretrained_model_are_credited(
    model: registry.PretrainedModel, dataset: str, license_name: str, setting: str
) -> None:
    fine_tuned = config(dataset, model.metadata["sha256"], setting)
    sources = find_sources(fine_tuned)
    assert CBIS_DDSM in sources.datasets
    assert sources.license == license_name
    credit = credit_section(fine_tuned)
    assert model.name in credit
    assert CBIS_DDSM.citation in credit
    assert ("EfficientNet-Lite0" in credit) == ("efficientnet" in model.name)
    assert NEVER_REAL not in limitations_section(fine_tuned)


@pytest.mark.parametrize("setting", ["init_from", "encoder_weights"])
def test_the_license_of_unknown_initial_weights_is_unknown(setting: str) -> None:
    assert NEVER_REAL in limitations_section(config("phantom", None))
    assert find_sources(config("phantom", None)).license == PHANTOM.license
    fine_tuned = config("phantom", "0" * 64, setting)
    assert find_sources(fine_tuned).license == "unknown"
    assert "whose license and credit are not known" in credit_section(fine_tuned)
    assert NEVER_REAL not in limitations_section(fine_tuned)


def test_published_weights_of_an_encoder_are_credited() -> None:
    fine_tuned = config("phantom", next(iter(BY_DIGEST)), "encoder_weights")
    assert find_sources(fine_tuned).license == PHANTOM.license
    assert "EfficientNet-Lite0" in credit_section(fine_tuned)
    assert "not known" not in credit_section(fine_tuned)
