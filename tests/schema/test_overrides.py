"""The grammar of Hydra's overrides."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mammoseg.schema.overrides import key_of, merge, quote

PATHS = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), max_size=20)


@given(PATHS)
@example("\\\\")
@example('a\\\\"')
@example("\\${a}")
def test_a_quoted_value_is_read_back(text: str) -> None:
    override = OverridesParser.create().parse_override(f"resume={quote(text)}")
    assert OmegaConf.create({"resume": override.value()}).resume == text


@pytest.mark.parametrize("override", ["+a.b=1", "~a.b", "a.b=x=y", "++a.b=", "a.b"])
def test_the_key_of_an_override(override: str) -> None:
    assert key_of(override) == "a.b"


def test_the_last_override_of_a_key_wins() -> None:
    assert merge(["epochs=3", "seed=1", "epochs=5"]) == ["seed=1", "epochs=5"]
    assert merge(["+extra=1", "extra=2"]) == ["+extra=2"]
    assert merge(["++extra=1", "extra=2"]) == ["++extra=2"]
    assert merge(["+extra=1", "~extra"]) == ["~extra"]
    assert merge([]) == []
