"""§4.2's explorer: its numbers are evaluation's, its crops are parts of restored pictures, and what
it cannot do at once or at all it says."""

from __future__ import annotations

import asyncio
import base64
import io
import re

import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image
from waiting import until

from dasrlib import data, evaluation, network, widgets
from dasrlib.data import crop_to_multiple
from dasrlib.degradation import Degradations, degrade, quantise
from dasrlib.systems import SYSTEMS, short
from dasrlib.widgets.base.interactive_figure import COMPUTING
from dasrlib.widgets.explorer import RestorationCache, curves_panel

SIGMA = 2.4


def texture(seed: int) -> torch.Tensor:
    """Smooth enough that a blur leaves something; its sides are no multiples of 4."""
    small = torch.rand(1, 3, 14, 16, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, size=(114, 131), mode="bicubic")[0].clamp(0, 1)


IMAGES = [("one", texture(0)), ("two", texture(1))]
KEPT = {
    "dataset": "Set0",
    "measured": {
        "bicubic": [[0.0, 31.5], [2.4, 21.5]],
        "model2": [[0.0, 32.5], [2.4, 22.5]],
        "model5": [[0.0, 33.5], [2.4, 23.5]],
    },
}


@pytest.fixture(scope="module")
def models() -> dict[str, network.BlindSR]:
    """Untrained, but they start as nearest-neighbour upsampling: they give a picture."""
    found = {}
    for place, name in enumerate(("model2", "model4", "model5")):
        torch.manual_seed(place)
        found[name] = network.build(name, 4, "smoke").eval()
        found[name].sr.init_as_nearest_neighbour()
    return found


@pytest.fixture
def explorer(models) -> widgets.InteractiveFigure:
    return widgets.ablation_explorer(IMAGES, models, KEPT)


def control(explorer: widgets.InteractiveFigure, words: str):
    return next(w for w in explorer.children[0].children if words in w.description)


def plot(explorer: widgets.InteractiveFigure) -> str:
    return explorer.children[1].children[1].value


def numbers(explorer: widgets.InteractiveFigure) -> str:
    return explorer.children[1].children[0].children[1].value


def place(explorer: widgets.InteractiveFigure) -> str:
    return explorer.children[1].children[0].children[0].value


def crops(explorer: widgets.InteractiveFigure) -> dict[str, tuple[torch.Tensor, str]]:
    """By method: the picture that is shown, as bytes, and the note below it."""
    found = {}
    for figure in re.findall(r"<figure.*?</figure>", explorer.children[2].value, re.DOTALL):
        name, note = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", figure)
        png = base64.b64decode(re.search(r"base64,([^\"]+)", figure)[1])
        image = Image.open(io.BytesIO(png))
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        found[name[2:] if name != "HR" else name] = (
            pixels.reshape(image.height, image.width, 3).permute(2, 0, 1), note,
        )  # fmt: skip
    return found


def restored(
    model, image: torch.Tensor, sigma: float, assumed: float | None = None
) -> torch.Tensor:
    """What a model makes of a picture, written down once more and without the widget."""
    hr = crop_to_multiple(image, 4)
    lr = degrade(hr[None], Degradations.isotropic(sigma, 4), backend="fast")
    with torch.inference_mode():
        given = Degradations.isotropic(sigma if assumed is None else assumed, 4)
        return model.restore(lr, None if model.needs == "nothing" else given)[0]


def psnr(model, image: torch.Tensor, sigma: float, **assumed) -> float:
    hr = crop_to_multiple(image, 4)
    return evaluation.psnr_y(restored(model, image, sigma, **assumed), hr, 4)


def methods(models):
    return {"bicubic": evaluation.Bicubic(4), **models}


def test_the_curves_are_evaluations_numbers(models):
    work = RestorationCache(IMAGES, models)
    for name, model in methods(models).items():
        for sigma in (0.0, 2.4, 4.6):
            _, value = work.restore(("two", name, sigma))
            assert value == psnr(model, IMAGES[1][1], sigma), (name, sigma)


def test_a_benchmark_gives_the_same_number(models):
    work = RestorationCache(IMAGES, models)
    grid = evaluation.isotropic_degradations(4, [1.2])
    (row,) = evaluation.benchmark(models["model4"], IMAGES[:1], grid)
    assert work.restore(("one", "model4", 1.2))[1] == row.psnr


def test_model_5_gets_the_true_width(models):
    model, image = models["model5"], IMAGES[0][1]
    _, value = RestorationCache(IMAGES, models).restore(("one", "model5", 3.6))
    assert value == psnr(model, image, 3.6)
    assert value != psnr(model, image, 3.6, assumed=1.2)


def test_the_crops_are_the_same_part_of_the_restored_pictures(explorer, models):
    control(explorer, "crop, right").value, control(explorer, "crop, down").value = 20, 8
    image = IMAGES[0][1]
    shown = crops(explorer)
    assert list(shown) == ["HR", "bicubic", "Model 2", "Model 4", "Model 5"]
    part = (..., slice(8, 8 + 80), slice(20, 20 + 80))
    assert torch.equal(shown["HR"][0], data.to_uint8(image)[part])
    hr = crop_to_multiple(image, 4)[part]
    for name, model in methods(models).items():
        pixels, note = shown[short(name)]
        # Whole pictures are restored, not crops: the pixels are exactly equal.
        expected = quantise(restored(model, image, SIGMA))
        assert torch.equal(pixels, data.to_uint8(expected)[part]), name
        here = evaluation.psnr_y(expected[part], hr, 0)
        assert note == f"{psnr(model, image, SIGMA):.2f} dB, crop {here:.2f}"


def test_sigma_moves_the_line_and_restores_anew(explorer, models):
    before = crops(explorer)
    control(explorer, "σ").value = 4.5
    after = crops(explorer)
    assert torch.equal(before["HR"][0], after["HR"][0])
    for name, model in methods(models).items():
        assert not torch.equal(before[short(name)][0], after[short(name)][0])
        value = f"{psnr(model, IMAGES[0][1], 4.5):.2f} dB"
        assert after[short(name)][1].startswith(value)
        assert value in numbers(explorer)
    assert plot(explorer).count("line at σ = 4.5") == 2
    assert "σ = 4.5, never seen in training" in numbers(explorer)
    control(explorer, "σ").value = 4.0
    assert "never seen in training" not in numbers(explorer)


def test_a_box_takes_a_models_curve_and_crop_away_and_brings_them_back(explorer):
    before = plot(explorer)
    assert before.count("Model 2 ") == 2  # in the words of both charts
    control(explorer, "Model 2").value = False
    assert "Model 2" not in numbers(explorer)
    assert "Model 2" not in plot(explorer)
    assert "Model 2" not in crops(explorer)
    control(explorer, "Model 2").value = True
    assert plot(explorer) == before
    for box in ("bicubic", "Model 2", "Model 4", "Model 5"):
        control(explorer, box).value = False
    assert list(crops(explorer)) == ["HR"]
    assert explorer.status.value == ""


def test_the_chart_shows_the_points_and_the_line(monkeypatch):
    drawn = {"plot": [], "axvline": []}
    for name, calls in drawn.items():
        original = getattr(Axes, name)

        def watched(ax, *given, calls=calls, original=original, **options):
            calls.append(given)
            return original(ax, *given, **options)

        monkeypatch.setattr(Axes, name, watched)
    points = [(0.0, float("inf")), (1.0, 30.0), (2.0, 29.0)]  # black is restored without an error
    panel = curves_panel("black", {"model4": points}, 1.5, 4.0)
    assert drawn["plot"] == [((0.0, 1.0, 2.0), (float("inf"), 30.0, 29.0))]
    assert drawn["axvline"] == [(1.5,)]
    assert panel.image.std() > 0.05
    assert curves_panel("none", {}, 1.5, 4.0).image.shape[0] == 3


def test_each_chart_says_what_it_shows(explorer, models):
    headings = re.findall(r'alt="PSNR over the kernel width: ([^;]+);', plot(explorer))
    assert headings == ["one, 128×112 pixels", "mean over Set0, stored run"]
    alone = widgets.ablation_explorer(IMAGES, models)
    assert "stored run" not in plot(alone)  # those of the figure are not these models'


def test_another_picture_has_its_own_curves(explorer, models):
    control(explorer, "picture").value = "two"
    for name, model in methods(models).items():
        value = f"{psnr(model, IMAGES[1][1], SIGMA):.2f} dB"
        assert crops(explorer)[short(name)][1].startswith(value)
    assert "two, 128×112" in plot(explorer)
    assert 'alt="two, whole' in place(explorer)


def test_of_a_large_picture_the_middle_is_used(models):
    large = torch.nn.functional.interpolate(IMAGES[0][1][None], (280, 301))[0]
    work = RestorationCache([("large", large)], models)
    assert torch.equal(work.pictures["large"], large[:, 12 : 12 + 256, 22 : 22 + 256])


def test_a_smaller_picture_has_a_smaller_crop(models):
    images = [("wide", IMAGES[0][1]), ("small", IMAGES[0][1][:, :50, :60])]
    explorer = widgets.ablation_explorer(images, models)
    control(explorer, "picture").value = "small"
    assert crops(explorer)["Model 4"][0].shape == (3, 48, 48)
    assert control(explorer, "crop, right").max == 12
    control(explorer, "picture").value = "wide"
    assert crops(explorer)["Model 4"][0].shape == (3, 80, 80)


def test_what_goes_wrong_shows_and_the_others_go_on(explorer, models, monkeypatch):
    def broken(*inputs, **options):
        raise RuntimeError("no more memory")

    monkeypatch.setattr(models["model4"].sr, "forward", broken)
    control(explorer, "σ").value = 3.0
    assert 'role="alert"' in explorer.status.value
    assert "Model 4, σ = 3: no more memory" in explorer.status.value
    shown = crops(explorer)
    assert shown["Model 2"][1].startswith(f"{psnr(models['model2'], IMAGES[0][1], 3.0):.2f} dB")
    assert shown["Model 4"][1] == "σ = 2.4 until σ = 3 is done"
    monkeypatch.undo()
    control(explorer, "σ").value = 3.1
    assert explorer.status.value == ""
    value = psnr(models["model4"], IMAGES[0][1], 3.1)
    assert crops(explorer)["Model 4"][1].startswith(f"{value:.2f} dB")


async def move(explorer: widgets.InteractiveFigure) -> None:
    """Moves σ, and waits until all that follows from it is done."""
    control(explorer, "σ").value = 2.8
    await until(lambda: COMPUTING not in explorer.status.value)


def test_in_a_kernel_the_move_answers_first_and_the_models_follow_one_by_one(models):
    seen = []  # the crops' notes, at every change

    async def session() -> None:
        explorer = widgets.ablation_explorer(IMAGES, models)

        def look(change: object) -> None:
            seen.append({name: note for name, (_, note) in crops(explorer).items()})

        explorer.children[2].observe(look, names="value")
        await move(explorer)
        assert plot(explorer).count("line at σ = 2.8") == 1
        assert explorer.status.value == ""

    asyncio.run(session())
    assert " dB, crop " in seen[0]["bicubic"]
    waiting = "σ = 2.4 until σ = 2.8 is done"
    done = [sum(note == waiting for note in notes.values()) for notes in seen]
    assert done == [3, 2, 1, 0]
    value = psnr(models["model4"], IMAGES[0][1], 2.8)
    assert seen[-1]["Model 4"].startswith(f"{value:.2f} dB")


def test_in_a_kernel_what_fails_shows_and_the_others_go_on(models, monkeypatch):
    def broken(*inputs, **options):
        raise RuntimeError("no more memory")

    async def session() -> None:
        some = {name: models[name] for name in ("model4", "model2")}
        explorer = widgets.ablation_explorer([small], some)
        monkeypatch.setattr(models["model4"].sr, "forward", broken)
        await move(explorer)
        assert "Model 4, σ = 2.8: no more memory" in explorer.status.value
        assert crops(explorer)["Model 4"][1] == "σ = 2.4 until σ = 2.8 is done"
        assert " dB, crop " in crops(explorer)["Model 2"][1]

    small = ("small", IMAGES[0][1][:, :48, :48])
    asyncio.run(session())


def test_every_picture_has_words_for_those_who_do_not_see_it(explorer):
    for html in (place(explorer), plot(explorer), explorer.children[2].value):
        assert html.count("<img") == html.count(' alt="') > 0
    assert plot(explorer).count('alt="PSNR over the kernel width') == 2
    assert 'alt="the crop, ◆ Model 4, σ = 2.4: ' in explorer.children[2].value
    assert all(w.description for w in explorer.children[0].children)


def test_without_a_kernel_there_is_the_first_frame(explorer):
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as picture:
        assert picture.size[0] > 800


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": []}, "got 0 pictures"),
        ({"systems": {}}, r"the scales \[\]"),
        ({"systems": {"model1": network.BlindSR(4), "model4": network.BlindSR(2)}}, r"\[2, 4\]"),
        (
            {"systems": {"model6": network.BlindSR(4)}},
            "no system is named 'model6': did you mean 'model",
        ),
    ],
)
def test_bad_inputs_are_refused(models, change, words):
    inputs = {"images": IMAGES, "systems": models, **change}
    with pytest.raises(ValueError, match=words):
        widgets.ablation_explorer(**inputs)


def test_any_system_of_the_tables_can_be_shown(models):
    """A told one is told the true kernel; of many systems the first ones are ticked."""

    told = []

    class Told(evaluation.Bicubic):
        needs = "kernel"

        def restore(self, lr, degradation=None):
            told.append(round(degradation.lambda1.item(), 3))
            return super().restore(lr)

    others = ("srcnn", "rcan", "srmdnf-predicted", "srmdnf-assumed", "ikc", "sftmd")
    systems = {"srmdnf": Told(4), **{name: evaluation.Bicubic(4) for name in others}}
    cache = RestorationCache(IMAGES[:1], systems)
    _, psnr = cache.restore(("one", "srmdnf", SIGMA))
    assert psnr == pytest.approx(cache.restore(("one", "bicubic", SIGMA))[1])
    assert told == [SIGMA]
    explorer = widgets.ablation_explorer(IMAGES[:1], systems)
    ticked = [control(explorer, short(name)).value for name in ("bicubic", *systems)]
    assert ticked == [True] * 6 + [False] * 2


def test_every_system_has_a_symbol_and_a_line():
    for name in SYSTEMS:
        found = curves_panel("one", {name: [(0.0, 30.0), (2.4, 25.0)]}, SIGMA, 4.0)
        assert short(name) in found.alt
