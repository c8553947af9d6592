"""The numbers in README.md are those of the figures' runs."""

import json
from pathlib import Path

import pytest

from dasrlib import weights

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ABLATION = json.loads((ROOT / "figures" / "ablation.json").read_text())["data"]


@pytest.mark.parametrize(
    ("row", "values"),
    [
        ("| bicubic, measured here |", ABLATION["measured"]["bicubic"]),
        ("| bicubic, *printed in the paper* |", ABLATION["printed"]["Bicubic"]),
        ("| Model 4, `laptop`, measured here |", ABLATION["measured"]["model4"]),
        ("| DASR, *printed in the paper*", ABLATION["printed"]["DASR"]),
    ],
)
def test_the_table_is_the_figures_data(row, values):
    line = next(line for line in README.splitlines() if line.startswith(row))
    shown = [float(cell) for cell in line.strip("| ").split("|")[1:]]
    # Two decimals of numbers that are kept with three.
    assert shown == pytest.approx(values, abs=0.0051)


def test_the_minutes_are_those_of_the_record():
    record = weights.catalogue()["laptop/model4-x4-iso"]
    assert f"{record['minutes']:.1f} minutes" in README


def test_every_picture_is_there():
    pictures = [part.split(")")[0] for part in README.split("](figures/")[1:]]
    assert pictures
    assert all((ROOT / "figures" / picture).is_file() for picture in pictures)
