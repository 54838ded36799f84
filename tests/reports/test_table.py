"""Number formats in tables."""

from __future__ import annotations

import pytest

from mammoseg.reports.table import Table, format_effect, format_p, format_signed, latex_escape, percent


def test_undefined_values_are_displayed_as_a_dash() -> None:
    assert {function(float("nan")) for function in (percent, format_signed, format_p)} == {"–"}


def test_numbers_have_two_decimals_and_a_unicode_minus() -> None:
    assert percent(0.51236) == "51.24"
    assert format_signed(-0.01234) == "−1.23"
    assert format_signed(0.01234) == "+1.23"
    assert format_effect(-0.5) == "−0.50"


@pytest.mark.parametrize(("p", "text"), [(0.0009, "< 0.001"), (0.0012, "= 0.001"), (0.5, "= 0.500")])
def test_format_p_has_three_decimals_or_an_upper_bound(p: float, text: str) -> None:
    assert format_p(p, "= ") == text


def test_latex_escape_escapes_each_character_once() -> None:
    assert latex_escape(r"100 % of \a_b & #1, ΔA ↓ − ρ < α") == (
        r"100 \% of \textbackslash a\_b \& \#1, $\Delta$A $\downarrow$ $-$ $\rho$ $<$ $\alpha$"
    )


def test_csv_columns_replace_the_headings_in_the_csv_file_only() -> None:
    table = Table("t", "Tests", ["method", "p, Holm"], [["a", "−0.5"]], csv_columns=["method", "p_holm"])
    assert table.csv() == "method,p_holm\na,-0.5\n"
    assert table.markdown().startswith("| method | p, Holm |")
