"""§4.4: the bank of known degradations, the crops, and a stored number of each figure again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dasrlib import data, evaluation, figures, weights
from dasrlib.degradation import Degradations
from dasrlib.studies import real_pictures as study
from dasrlib.studies import unseen_degradations
from dasrlib.studies.real_pictures import Bank

KEYS = list(study.bank_degradations(4))


def planted(pictures: int, signal: float) -> tuple[torch.Tensor, list[str], list[str]]:
    """Vectors of every degradation and picture: `signal` times three codes, and unit noise."""
    generator = torch.Generator().manual_seed(0)
    codes: dict[str, torch.Tensor] = {}
    vectors, names, labels = [], [], []
    for key in KEYS:
        for part in key.split(", "):
            codes.setdefault(part, torch.randn(48, generator=generator))
        for picture in range(pictures):
            noise = torch.randn(48, generator=generator)
            vectors.append(signal * sum(codes[part] for part in key.split(", ")) + noise)
            names.append(f"picture {picture}")
            labels.append(key)
    return torch.stack(vectors), names, labels


def test_the_bank_is_every_combination():
    bank = study.bank_degradations(4)
    assert len(bank) == 64
    found = bank["σ 2.4, noise 5, JPEG 60"]
    numbers = [float(t) for t in (found.lambda1, found.noise, found.quality)]
    assert numbers == pytest.approx([2.4, 5, 60])
    assert not bank["σ 0.2, noise 0, no JPEG"].has_jpeg


def test_a_point_of_the_bank_is_the_mean_in_standard_deviations():
    vectors = torch.tensor([[0.0, 0.0], [0.0, 2000.0], [4.0, 0.0], [4.0, 2000.0]])
    bank = Bank.of(vectors, ["a", "a", "b", "b"])
    spread = vectors.std(dim=0)
    assert torch.allclose(bank.points, torch.tensor([[-2.0, 0], [2, 0]]) / spread)
    # A dimension in thousands counts as much as one in units.
    distances = bank.distances(torch.tensor([[0.0, 1000.0], [3.0, 1000.0]]))
    expected = torch.tensor([[0.0, 4.0], [3.0, 1.0]]) / spread[0] / 2**0.5
    assert torch.allclose(distances, expected, atol=1e-6)


def test_a_bank_comes_back_from_its_json():
    vectors, _, labels = planted(3, 1.0)
    bank = Bank.of(vectors, labels)
    again = Bank.from_json(bank.to_json())
    assert again.keys == bank.keys
    assert torch.equal(again.distances(vectors), bank.distances(vectors))


def test_what_is_planted_is_found_and_noise_is_chance():
    everything = dict.fromkeys(("all", "width", "noise", "JPEG"), 1.0)
    assert study.how_often_right(*planted(4, 5.0)) == everything
    silent = study.how_often_right(*planted(4, 0.0))
    # 256 guesses: one in 64 and one in 4, plus or minus three standard deviations.
    assert silent["all"] < 1 / 64 + 3 * 0.008
    for part in ("width", "noise", "JPEG"):
        assert silent[part] == pytest.approx(1 / 4, abs=3 * 0.028)


def test_a_part_that_is_not_in_the_vectors_is_guessed():
    vectors, names, labels = planted(4, 5.0)
    # The vectors of the four widths are dealt anew within each noise level and JPEG quality.
    by: dict[str, list[int]] = {}
    for i, label in enumerate(labels):
        by.setdefault(label.split(", ", 1)[1], []).append(i)
    rng = np.random.default_rng(0)
    order = np.arange(len(labels))
    for group in by.values():
        order[group] = rng.permutation(group)
    found = study.how_often_right(vectors[order], names, labels)
    assert found["JPEG"] > 0.9
    assert found["noise"] > 0.9
    assert found["width"] < 0.5


def test_a_picture_of_the_bank_is_never_asked_about():
    # The two vectors of a picture are alike, and say nothing of the degradation.
    generator = torch.Generator().manual_seed(0)
    content = torch.randn(40, 16, generator=generator)
    vectors = torch.cat([content, content + 0.01])
    names = [f"picture {i}" for i in range(40)] * 2
    labels = [*["σ 1, noise 0, no JPEG"] * 40, *["σ 2, noise 0, no JPEG"] * 40]
    assert study.how_often_right(vectors, names, labels)["width"] == pytest.approx(0.5, abs=0.15)


def test_the_busiest_square_holds_the_texture():
    lr = torch.full((3, 40, 50), 0.5)
    lr[:, 11:19, 23:31] = torch.rand(3, 8, 8)
    top, left = study.busiest(lr, 12)
    assert 7 <= top <= 11
    assert 19 <= left <= 23
    assert study.busiest(torch.full((3, 9, 9), 0.5), 12) == (0, 0)


class Reader(torch.nn.Module):
    """An encoder with one answer."""

    def __init__(self, vector: list[float]) -> None:
        super().__init__()
        self.vector = torch.tensor([vector])

    def represent(self, images):
        return self.vector


def test_an_encoder_that_cannot_decide_says_so():
    bank = Bank(["a", "b"], torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.zeros(2), torch.ones(2))
    lr = torch.rand(3, 8, 8)
    sure = study.thought(lr, Reader([0.1, 0.0]), bank)
    assert (sure["nearest"], sure["ratio"]) == ("a", pytest.approx(0.1 / 1.9, abs=1e-3))
    unsure = study.thought(lr, Reader([1.01, 0.0]), bank)
    assert (unsure["nearest"], unsure["ratio"]) == ("b", pytest.approx(0.98, abs=1e-3))


# The stored figures


def photographs() -> dict[str, torch.Tensor]:
    if data.available()[study.PHOTOGRAPHS] is None:
        pytest.skip(f"{study.PHOTOGRAPHS} is not on this machine")
    return dict(data.images(study.PHOTOGRAPHS))


def test_the_stored_nearest_degradation_comes_out_again():
    stored = figures.read("real").data
    (row,) = [found for found in stored["photographs"] if found["name"] == "Lincoln"]
    bank, reader = Bank.from_json(stored["bank"]), weights.load(stored["reader"])
    again = study.thought(photographs()["Lincoln"], reader, bank)
    assert again["nearest"] == row["nearest"]
    assert again["distance"] == pytest.approx(row["distance"], abs=0.01)
    assert again["ratio"] == pytest.approx(row["ratio"], abs=0.01)


@pytest.mark.parametrize("name", ["real", "real-crops"])
def test_the_stored_crops_are_the_busiest_squares(name):
    pictures = photographs()
    for found in figures.read(name).data["photographs"]:
        top, left, side = found["box"]
        assert study.busiest(pictures[found["name"]], side) == (top, left)


@pytest.mark.parametrize(("axis", "value"), [("width", 5.0), ("noise", 30.0)])
def test_a_stored_unseen_number_comes_out_again(axis, value):
    if data.available()[unseen_degradations.TEST_SET] is None:
        pytest.skip(f"{unseen_degradations.TEST_SET} is not on this machine")
    stored = figures.read("unseen").data[axis]["rows"]
    # The first picture: its noise alone does not depend on the pictures before it.
    pictures = data.images(unseen_degradations.TEST_SET, limit=1)
    degradation = {
        "width": Degradations.isotropic(value, 4),
        "noise": Degradations.isotropic(unseen_degradations.SIGMA, 4, value),
    }[axis]
    systems = {"bicubic": evaluation.Bicubic(4), study.READER: weights.load(study.READER)}
    for name, table in unseen_degradations.measure(systems, pictures, {value: degradation}).items():
        ((picture, psnr),) = table[f"{value:g}"].items()
        assert psnr == pytest.approx(stored[name][f"{value:g}"][picture], abs=0.02)


def test_what_is_said_of_clean_pictures_is_the_difference_of_the_means():
    stored = figures.read("unseen").data
    isotropic = study.NETWORKS[0]
    best = stored["clean"][isotropic]["1.2"]
    for system in study.NETWORKS:
        differences = [best[name] - psnr for name, psnr in stored["clean"][system]["1.2"].items()]
        assert stored["lost"][system] == pytest.approx(np.mean(differences), abs=1e-3)
    taken = [best[n] - stored["clean"][w]["1.2"][n] for n, w in stored["chosen"].items()]
    assert stored["lost"]["dasr upscale"] == pytest.approx(np.mean(taken), abs=1e-3)


def test_the_stored_choice_of_weights_comes_out_again():
    if data.available()[unseen_degradations.TEST_SET] is None:
        pytest.skip(f"{unseen_degradations.TEST_SET} is not on this machine")
    pictures = data.images(unseen_degradations.TEST_SET, limit=2)
    again = unseen_degradations.chosen_weights(
        pictures, Degradations.isotropic(unseen_degradations.SIGMA, 4)
    )
    assert again.items() <= figures.read("unseen").data["chosen"].items()
