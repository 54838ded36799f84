"""cases.csv of a prepared store."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from mammoseg.data.store import Case, read_cases, write_cases
from mammoseg.density import ACRDensity


def test_formulas_are_escaped_and_read_back(tmp_path: Path) -> None:
    values: dict[str, Any] = {field.name: 1 for field in fields(Case)}
    values |= dict.fromkeys(("density", "given_density", "estimated_density"), ACRDensity(2))
    values |= {
        "case": "=1+1",
        "patient": "@sum",
        "side": "L",
        "view": "-CC",
        "split": "",
        "source": "",
        "acquisition": "",
        "mass_locations": "",
    }
    case = Case(**values)
    write_cases(tmp_path / "cases.csv", [case])
    assert (tmp_path / "cases.csv").read_text(encoding="utf-8").splitlines()[1].startswith("'=1+1,'@sum,")
    assert read_cases(tmp_path / "cases.csv") == [case]
