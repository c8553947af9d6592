"""The table of systems: whole, unambiguous, and refusing what is misspelt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dasrlib import evaluation, network, systems
from dasrlib.studies import ablation
from dasrlib.systems import ABLATION, MODELS, SYSTEMS


def test_every_row_is_told_apart_by_each_of_its_marks():
    for mark in ("title", "short"):
        assert len({getattr(row, mark) for row in SYSTEMS.values()}) == len(SYSTEMS), mark
    # One colour and one marker for a network, one line for what it is told or put behind.
    assert len({(row.colour, row.line) for row in SYSTEMS.values()}) == len(SYSTEMS)
    for name, row in SYSTEMS.items():
        base = SYSTEMS[name.removeprefix("dncnn-").split("-")[0]]
        assert (row.colour, row.marker) == (base.colour, base.marker), name


def test_what_is_told_makes_a_blind_system_of_one_that_is_not():
    told = [name for name, row in SYSTEMS.items() if row.needs != "nothing"]
    assert told == ["model5", "srmd", "srmdnf", "sftmd", "zssr", "mzsr"]
    for name in told:
        for form in ("predicted", "assumed"):
            assert SYSTEMS[f"{name}-{form}"].needs == "nothing"


def test_the_claims_are_the_papers_and_the_most_informative_model_is_trained_first():
    assert [(better, worse) for better, worse in ablation.CLAIMS] == [
        ("model4", "model1"),
        ("model4", "model2"),
        ("model4", "model3"),
        ("model5", "model4"),
    ]
    assert ablation.ORDER == ["model4", "model1", "model5", "model2", "model3"]
    assert sorted(ablation.ORDER) == ABLATION


@pytest.mark.parametrize("name", MODELS)
def test_a_network_answers_as_its_row_says(name):
    model = network.build(name, 2, "smoke")
    assert (model.name, model.needs) == (name, SYSTEMS[name].needs)
    assert (evaluation.Bicubic(2).name, evaluation.Bicubic(2).needs) == ("bicubic", "nothing")


def test_a_variant_without_a_row_can_be_built():
    mine = replace(MODELS["model4"], name="mine", modulate=False)
    model = network.BlindSR(2, network.build("model4", 2, "smoke").sizes, mine)
    assert model.name == "mine"
    assert model.sr.groups[0].blocks[0].da_conv1.modulation is None


def test_what_is_misspelt_is_refused():
    with pytest.raises(
        ValueError, match=r"needs must be one of .*'kernel', 'kernel and noise', got 'kernels'"
    ):
        replace(MODELS["model4"], needs="kernels")
    with pytest.raises(ValueError, match="did you mean 'model4'"):
        systems.model_variant("modle4")
