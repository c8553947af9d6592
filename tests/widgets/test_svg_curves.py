"""Curves over σ: told apart by more than colour, round ticks, nothing that cannot be drawn."""

from __future__ import annotations

import re

import pytest

from dasrlib import systems
from dasrlib.systems import short
from dasrlib.widgets.ablation_explorer import first_frame as draw
from dasrlib.widgets.ablation_explorer.svg_curves import curves_svg, ticks


def test_lines_differ_in_more_than_colour():
    looks = draw.styles(["bicubic", *systems.MODELS])
    for one in ("marker", "dashes", "colour", "symbol"):
        assert len({getattr(look, one) for look in looks.values()}) == 6, one
    mixed = draw.styles(["model4", "mine", "yours"])
    assert mixed["model4"] == looks["model4"]
    assert len({look.marker for look in mixed.values()}) == 3
    assert short("mine") == "mine"


def test_curves_leave_out_what_cannot_be_drawn():
    looks = draw.styles(["mine"])
    points = [(0.0, float("inf")), (1.0, 30.0), (2.0, 29.0)]
    svg = curves_svg("<one>", {"mine": points}, looks, 1.0, 4.0, 5.0, 'a "word"')
    assert len(re.search(r'points="([^"]*)"', svg)[1].split()) == 2
    assert "nan" not in svg
    assert "inf" not in svg
    assert "&lt;one&gt;" in svg
    assert "a &quot;word&quot;" in svg
    assert curves_svg("none", {}, looks, 1.0, 4.0, 5.0, "")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (20.3, 27.9, [22, 24, 26]),
        (-0.3, 0.2, [-0.3, -0.2, -0.1, 0, 0.1, 0.2]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)
