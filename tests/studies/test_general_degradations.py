"""§4.3: the two maps: what is told apart, and the probes' numbers beside them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
import torch

from dasrlib import data, figures, probes, weights
from dasrlib.plots import representation as draw
from dasrlib.studies import general_degradations as study
from dasrlib.studies.probe_set import ANGLES, NOISES, ask


class Reads:
    """An encoder that sees how noisy a picture is, or draws its representation at random."""

    def __init__(self, sees: bool) -> None:
        self.sees, self.generator = sees, torch.Generator().manual_seed(0)

    def represent(self, lr: torch.Tensor) -> torch.Tensor:
        drawn = torch.randn(1, 2, generator=self.generator)
        return (lr - lr.roll(1, -1)).abs().mean() + 1e-4 * drawn if self.sees else drawn


@pytest.fixture(scope="module")
def grey() -> data.Pictures:
    return [(f"{i}", torch.full((3, 64, 64), 0.3 + 0.1 * i)) for i in range(5)]


def test_the_four_are_those_of_the_probes():
    kernels, noise = (study.degradations(unknown) for unknown in ("kernel", "noise"))
    assert tuple(kernels) == ANGLES
    assert all(not degradation.has_noise for degradation in kernels.values())
    assert tuple(noise) == NOISES
    assert [degradation.noise.item() for degradation in noise.values()] == list(NOISES)


def test_an_encoder_that_sees_the_noise_tells_it_apart_and_a_blind_one_does_not(grey):
    found = study.maps("noise", grey, {"blind": Reads(False), "seeing": Reads(True)})
    assert found["maps"]["seeing"]["knn"] == 1
    assert found["maps"]["seeing"]["r2"] > 0.99
    assert found["chance"] == 0.25
    assert found["maps"]["blind"]["knn"] < 0.6
    assert found["few"]["knn"]["seeing"] == 1
    assert found["shuffled"] < 0.6
    assert len(found["labels"]) == len(found["maps"]["blind"]["points"]) == 20
    figure = draw.degradation_maps(found)
    assert "k-NN 100 %" in figure.axes[1].get_title()
    plt.close(figure)


def test_angles_have_no_r2(grey):
    found = study.maps("kernel", grey, {"blind": Reads(True)})
    assert "r2" not in found["maps"]["blind"]
    assert found["labels"][0] == "θ = 0°"


@pytest.mark.parametrize("unknown", ["kernel", "noise"])
def test_a_stored_accuracy_comes_out_again(unknown):
    if data.available()["B100"] is None:
        pytest.skip("B100 is not on this machine")
    stored = figures.read("general-kernels" if unknown == "kernel" else "general-noise").data
    pictures = data.images("B100", limit=study.FEW)
    assert [name for name, _ in pictures] == stored["few"]["pictures"]
    asked = ask(pictures, study.degradations(unknown))
    title, accuracy = list(stored["few"]["knn"].items())[-1]
    again = probes.knn_accuracy(
        asked.vectors(weights.load(study.WEIGHTS[0]).represent), asked.labels, asked.owners
    )
    # Another processor's float32 may move one of the 40 points to another neighbour.
    assert again == pytest.approx(accuracy, abs=1.5 / 40), title
    assert set(stored["maps"]) == set(study.encoders())
