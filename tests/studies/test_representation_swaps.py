"""§4.2's studies and read-outs, against plain code and planted answers; and their figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from tiny_runs import texture

from dasrlib import evaluation, network, probes, studies
from dasrlib.degradation import Degradations, degrade
from dasrlib.plots import ablation as draw
from dasrlib.plots import studies as draw_study

PICTURES = [texture(name, 48, 44) for name in ("one", "two", "three")]
WIDTH = Degradations.isotropic(2.0, 4)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    built = network.build("model4", 4, "smoke").eval()
    # Untrained, it would hardly listen, and all pictures would sound alike to it.
    with torch.no_grad():
        for layer in built.encoder.features:
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight *= 3
        built.sr.compress[0].weight *= 20
    return built


def by_hand(model, lr, hr, representation) -> float:
    with torch.inference_mode():
        return evaluation.psnr_y(model(lr, representation=representation)[0], hr, 4)


def test_a_content_cost_is_what_the_swap_loses(model):
    costs = studies.content_costs(model, PICTURES, WIDTH)
    lrs = [degrade(hr[None], WIDTH, backend="fast") for _, hr in PICTURES]
    with torch.inference_mode():
        represented = [model.represent(lr) for lr in lrs]
    assert (costs.diagonal() == 0).all()
    for i, (_, hr) in enumerate(PICTURES):
        own = by_hand(model, lrs[i], hr, represented[i])
        for j in range(3):
            expected = own - by_hand(model, lrs[i], hr, represented[j])
            assert costs[i, j].item() == pytest.approx(expected, abs=1e-4)  # float32 of some 20 dB
    assert costs.abs().max() > 1e-3  # else nothing was tested


def test_content_costs_ask_for_a_blind_model_of_the_scale(model):
    with pytest.raises(ValueError, match="blind"):
        studies.content_costs(network.build("model5", 4, "smoke"), PICTURES, WIDTH)
    with pytest.raises(ValueError, match="scale 2"):
        studies.content_costs(model, PICTURES, Degradations.isotropic(2.0, 2))


@pytest.mark.parametrize("name", ["model4", "model5"])
def test_wrong_representations_are_of_the_assumed_width(name, model):
    chosen = model if name == "model4" else network.build("model5", 4, "smoke").eval()
    widths = [0.2, 3.0]
    found = studies.wrong_representations(chosen, PICTURES, widths, widths)
    right = evaluation.mean_by_degradation(
        evaluation.benchmark(chosen, PICTURES, evaluation.isotropic_degradations(4, widths))
    )
    assert found.diagonal().tolist() == pytest.approx(list(right.values()), abs=1e-4)
    true, assumed = (Degradations.isotropic(width, 4) for width in widths)
    values = []
    for _, hr in PICTURES:
        lr = degrade(hr[None], true, backend="fast")
        with torch.inference_mode():
            wrong = chosen.represent(degrade(hr[None], assumed, backend="fast"), assumed)
        values.append(by_hand(chosen, lr, hr, wrong))
    assert found[0, 1].item() == pytest.approx(float(np.mean(values)), abs=1e-4)
    assert found[0, 1] != found[0, 0]


@pytest.fixture
def clusters() -> tuple[np.ndarray, list[str], list[str]]:
    """Three widths, a tight cluster each, of 12 pictures."""
    rng = np.random.default_rng(0)
    centres = 5 * rng.normal(size=(3, 8))
    vectors = np.concatenate([centres + 0.1 * rng.normal(size=(3, 8)) for _ in range(12)])
    return vectors, ["0.2", "2", "4"] * 12, [f"p{i}" for i in range(12) for _ in range(3)]


def test_planted_clusters_read_out_perfectly_and_shuffled_ones_do_not(clusters):
    read = probes.probe_all(*clusters)
    assert read["knn"] == read["linear"] == 1
    assert read["silhouette"] > 0.9
    shuffled = probes.probe_shuffled(*clusters)
    # 36 vectors of three labels: 1/3 plus three standard deviations of 0.08.
    assert max(shuffled["knn"], shuffled["linear"]) < 0.58
    assert shuffled["silhouette"] < 0.1


def test_a_linear_read_out_never_sees_the_picture_it_is_asked_about():
    rng = np.random.default_rng(3)
    content = np.repeat(10 * rng.normal(size=(20, 64)), 6, axis=0)
    vectors = content + 0.01 * rng.normal(size=content.shape)
    labels = np.repeat(rng.permutation([0, 1] * 10), 6).tolist()
    apart, mixed = np.repeat(np.arange(20), 6).tolist(), list(range(120))
    assert probes.linear_accuracy(vectors, labels, mixed) > 0.95
    assert probes.linear_accuracy(vectors, labels, apart) < 0.75


def test_a_silhouette_needs_labels_that_differ(clusters):
    vectors, labels, _ = clusters
    with pytest.raises(ValueError, match="2 to N − 1 different labels, got 1"):
        probes.silhouette(vectors, ["0"] * len(labels))
    with pytest.raises(ValueError, match="36 vectors, 35 labels"):
        probes.silhouette(vectors, labels[1:])


def test_the_heat_map_shows_what_each_row_loses_against_its_true_width():
    psnr = [[27.0, 25.0], [24.5, 26.0]]
    data = {"dataset": "crops", "true": [1.0, 3.0], "assumed": [1.0, 3.0], "psnr": {"M": psnr}}
    figure = draw_study.kernel_mismatch(data)
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, [[0.0, 2.0], [1.5, 0.0]])
    assert len(figure.axes[0].patches) == 2  # the boxed cells
    plt.close(figure)


def test_the_content_figure_shows_the_matrix_and_its_pairs_apart_from_the_diagonal():
    data = {"names": ["a", "b"], "costs": [[0.0, 0.3], [-0.1, 0.0]], "width": 2.4,
            "dataset": "Set14", "model": "Model 4"}  # fmt: skip
    figure = draw_study.content_study(data)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), data["costs"])
    labels = figure.axes[1].get_legend_handles_labels()[1]
    assert labels == ["median +0.100 dB", "mean +0.100 dB"]
    plt.close(figure)


def test_the_claims_have_a_dot_for_every_seed():
    claim = {"better": "model4", "worse": "model1", "differences": {"0": 0.1, "1": -0.2},
             "mean": -0.05, "verdict": "undecided"}  # fmt: skip
    measured = {"bicubic": [(0.0, 25.0)], "model4": [(0.0, 27.0)]}
    data = {"dataset": "Set14", "printed": {}, "measured": measured, "claims": [claim]}
    figure = draw.ablation(data)
    dots = [line for line in figure.axes[2].lines if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in dots] == [[0.1, -0.2]]
    plt.close(figure)
