"""§3.2.2's widget: it shows what the DA convolution computes, and what a mismatch costs."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image

from dasrlib import data, network, weights, widgets
from dasrlib.da_conv import DAConv
from dasrlib.data import centre_crop
from dasrlib.degradation import Degradations, degrade
from dasrlib.profiles import Sizes
from dasrlib.widgets.mismatch import MismatchCase, MismatchModel, mosaic, verdict

MODEL4, MODEL5 = "laptop/model4-x4-iso", "laptop/model5-x4-iso"


@pytest.fixture(scope="module")
def photos() -> list[tuple[str, torch.Tensor]]:
    samples = dict(data.images("samples"))
    return [(name, centre_crop(samples[name], 128)) for name in ("chelsea", "coffee")]


@pytest.fixture
def lab(photos) -> widgets.InteractiveFigure:
    return widgets.kernel_mismatch(photos, [MODEL4, MODEL5], sigma=1.2)


def control(lab: widgets.InteractiveFigure, description: str):
    return next(w for w in lab.children[0].children if w.description == description)


def assume(lab: widgets.InteractiveFigure, true: float, assumed: float) -> None:
    control(lab, "true σ, HR pixels").value = true
    control(lab, "network assumes").value = "another σ"
    control(lab, "assumed σ, HR pixels").value = assumed


def predicted(lab: widgets.InteractiveFigure) -> str:
    kernels, coefficients = lab.children[1].children
    return kernels.value + coefficients.value


def restored(lab: widgets.InteractiveFigure) -> str:
    return lab.children[2].value


def titled(text: str, title: str) -> np.ndarray:
    """The picture below a title, (H, W, 3), 8 bit."""
    figure = next(f for f in re.findall(r"<figure.*?</figure>", text, re.S) if f">{title}<" in f)
    png = base64.b64decode(re.search(r'base64,([^"]+)"', figure)[1])
    return np.asarray(Image.open(io.BytesIO(png)))


def psnrs(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"<figcaption[^>]*>PSNR-Y ([\d.]+) dB<", text)]


@torch.inference_mode()
def convolved(
    name: str, hr: torch.Tensor, true: float, assumed: float
) -> tuple[list, torch.Tensor]:
    """What each DA convolution convolves with while the network runs, by a hook; and the SR."""
    model = weights.load(name)
    lr, other = (
        degrade(hr[None], Degradations.isotropic(w, 4), backend="fast") for w in (true, assumed)
    )
    seen = []
    for module in model.modules():
        if isinstance(module, DAConv):
            module.register_forward_hook(
                lambda m, inputs, out: seen.append(
                    (m.kernels(inputs[1])[0], m.coefficients(inputs[1])[0])
                )
            )
    if true == assumed:
        return seen, model(lr, Degradations.isotropic(true, 4))[0]
    wrong = model.represent(other, Degradations.isotropic(assumed, 4))
    return seen, model(lr, representation=wrong)[0]


@pytest.mark.parametrize("name", [MODEL4, MODEL5])
@pytest.mark.parametrize("assumed", [1.2, 3.4])
def test_what_is_shown_is_what_the_network_convolves_with(photos, name, assumed):
    model = MismatchModel(photos, [name])
    case = MismatchCase(name, "chelsea", 1.2, assumed)
    seen, sr = convolved(name, photos[0][1], 1.2, assumed)
    assert len(seen) == len(model.convolutions[name]) == 12
    for layer, (kernels, coefficients) in enumerate(seen, start=1):
        shown = model.predicted(case, layer)
        torch.testing.assert_close(shown, (kernels, coefficients))
    torch.testing.assert_close(model.sr(case), sr.clamp(0, 1))


def test_the_pictures_on_the_page_are_those_kernels_and_that_sr(lab, photos):
    assume(lab, 1.2, 3.4)
    control(lab, "DA convolution").value = 9
    model = MismatchModel(photos, [MODEL4])
    seen, sr = convolved(MODEL4, photos[0][1], 1.2, 3.4)
    expected = mosaic(seen[8][0], model.limit(MODEL4, "chelsea", 9))
    grid = titled(predicted(lab), "64 kernels, σ = 3.4 assumed").transpose(2, 0, 1)
    np.testing.assert_allclose(grid, expected.numpy() * 255, atol=0.51)
    shown = titled(restored(lab), "SR, σ = 3.4 assumed").transpose(2, 0, 1)
    # A rounding of another batch may fall on the other side.
    np.testing.assert_allclose(shown, sr.clamp(0, 1).numpy() * 255, atol=1.01)


def test_without_a_mismatch_it_is_the_model_itself(lab, photos):
    hr = photos[0][1]
    with torch.inference_mode():
        sr = weights.load(MODEL4)(
            degrade(hr[None], Degradations.isotropic(1.2, 4), backend="fast")
        )[0]
    shown = titled(restored(lab), "SR, true σ assumed").transpose(2, 0, 1)
    np.testing.assert_allclose(shown, sr.clamp(0, 1).numpy() * 255, atol=1.01)
    assert restored(lab).count("<img") == 2  # and HR


@pytest.mark.parametrize("name", [MODEL4, MODEL5])
@pytest.mark.parametrize(
    ("true", "assumed", "words"),
    [(1.0, 3.4, "more blur than there is"), (3.4, 1.0, "less blur than there is")],
)
def test_a_mismatch_costs_and_the_sentence_says_how_much(lab, name, true, assumed, words):
    control(lab, "network").value = name
    assume(lab, true, assumed)
    mismatched, matched = psnrs(restored(lab))
    assert mismatched < matched - 1
    assert words in restored(lab)
    assert ("Over-sharpened" if assumed > true else "Too soft") in restored(lab)
    cost = float(re.search(r"PSNR is ([\d.]+) dB lower", restored(lab))[1])
    assert cost == pytest.approx(matched - mismatched, abs=0.011)


def test_the_sentence_says_what_was_measured():
    assert "assumes the true width" in verdict(2.0, 2.0, 0.0, 1.0)
    assert "more blur" in verdict(1.0, 2.0, -0.5, 0.9)
    assert "Too soft" in verdict(1.0, 2.0, -0.5, 0.9)
    assert "0.50 dB lower" in verdict(1.0, 2.0, -0.5, 0.9)
    assert "Hardly any difference" in verdict(1.0, 1.1, 0.01, 1.005)
    assert "0.01 dB higher" in verdict(1.0, 1.1, 0.01, 1.005)


def test_the_bars_are_the_coefficients(photos, monkeypatch):
    drawn = []
    bar = Axes.bar

    def watched(ax, places, heights, **options):
        drawn.append((heights, options))
        return bar(ax, places, heights, **options)

    monkeypatch.setattr(Axes, "bar", watched)
    widgets.kernel_mismatch(photos, MODEL4, sigma=1.2, assumed=3.4, layer=9)
    seen, _ = convolved(MODEL4, photos[0][1], 1.2, 3.4)
    heights, options = drawn[-1]
    np.testing.assert_allclose(heights + options["bottom"], seen[8][1].numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("description", "value", "slow"),
    [
        ("true σ, HR pixels", 3.0, True),
        ("picture", "coffee", True),
        ("network", MODEL5, True),
        ("DA convolution", 7, False),
    ],
)
def test_a_control_changes_what_is_shown(lab, description, value, slow):
    before = predicted(lab), restored(lab)
    control(lab, description).value = value
    assert predicted(lab) != before[0]
    assert (restored(lab) != before[1]) is slow
    assert lab.status.value == ""


def test_the_assumed_slider_is_there_only_for_a_mismatch(lab):
    assumed = control(lab, "assumed σ, HR pixels")
    assert assumed.layout.display == "none"
    control(lab, "network assumes").value = "another σ"
    assert assumed.layout.display is None
    assumed.value = 3.0
    assert predicted(lab).count("<img") == 4  # LR, the kernels of both widths, the coefficients
    control(lab, "network assumes").value = "the true σ"
    assert assumed.layout.display == "none"
    assert predicted(lab).count("<img") == 3


def test_every_picture_has_words_for_those_who_do_not_see_it(lab):
    assume(lab, 1.2, 3.4)
    text = predicted(lab) + restored(lab)
    alts = re.findall(r'alt="([^"]+)"', text)
    assert text.count("<img") == len(alts) == len(set(alts)) == 7
    assert any("64 kernels that DA convolution 1 predicts, σ = 3.4 assumed" in alt for alt in alts)
    assert any("64 coefficients" in alt for alt in alts)
    assert "blue −" in predicted(lab)  # what the colours mean


def test_zero_is_white_and_signs_are_red_and_blue():
    kernels = torch.tensor([0.0, 1.0, -1.0]).view(3, 1, 1)
    picture = mosaic(kernels, 1.0)
    zero, plus, minus = (picture[:, 1, 1 + 2 * i] for i in range(3))
    assert zero.min() > 0.95
    assert plus[0] > 2 * plus[2]
    assert minus[2] > 2 * minus[0]


def test_what_goes_wrong_shows_in_the_widget_and_goes_away(photos):
    lab = widgets.kernel_mismatch([*photos, ("dot", torch.rand(3, 8, 8))])
    control(lab, "picture").value = "dot"
    assert 'role="alert"' in lab.status.value
    assert "8×8 is too small for a 21×21 kernel" in lab.status.value
    control(lab, "picture").value = "coffee"
    assert lab.status.value == ""
    assert "the picture coffee" in restored(lab)


def test_what_cannot_be_shown_is_refused_at_the_door(photos):
    with pytest.raises(ValueError, match="model2 has no DA convolutions"):
        widgets.kernel_mismatch(photos, "laptop/model2-x4-iso")
    with pytest.raises(ValueError, match=r"widths go from 0\.2 to 4\.0 HR pixels, got 5"):
        widgets.kernel_mismatch(photos, sigma=5.0)
    with pytest.raises(ValueError, match="DA convolutions 1 to 12, got 13"):
        widgets.kernel_mismatch(photos, layer=13)
    with pytest.raises(ValueError, match="at least one picture"):
        widgets.kernel_mismatch([])


def test_a_network_without_modulation_says_so(photos):
    lab = widgets.kernel_mismatch(photos, "laptop/model3-x4-iso", assumed=3.0)
    assert "no modulation branch" in predicted(lab)
    assert lab.status.value == ""


def test_networks_of_other_sizes_and_scales(photos, tmp_path):
    small = network.BlindSR(2, Sizes(groups=1, blocks=1, channels=16, tail_channels=8))
    path = weights.save(small, tmp_path / "small.safetensors")
    lab = widgets.kernel_mismatch(photos, [MODEL4, path], layer=9)
    control(lab, "network").value = str(path)
    assert (control(lab, "DA convolution").value, control(lab, "DA convolution").max) == (2, 2)
    assert "16 kernels" in predicted(lab)
    assert lab.status.value == ""
    control(lab, "network").value = MODEL4
    assert control(lab, "DA convolution").max == 12


def test_without_a_kernel_there_is_the_first_frame(lab):
    bundle = lab._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as picture:
        assert picture.size[0] > 1200
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        assert len(np.unique(pixels, axis=0)) > 500
