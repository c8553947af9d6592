"""§3.2.2's widget: it shows what the DA convolution computes, and a lie is told and paid for."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from dasrlib import data, network, weights, widgets
from dasrlib.da_conv import DAConv
from dasrlib.data import centre_crop
from dasrlib.degradation import Degradations, degrade
from dasrlib.profiles import Sizes
from dasrlib.widgets.kernel_mismatch.predictions import Case, Telling, verdict
from dasrlib.widgets.kernel_mismatch.widget import BARS, mosaic

MODEL4, MODEL5 = "laptop/model4-x4-iso", "laptop/model5-x4-iso"


@pytest.fixture(scope="module")
def photos() -> list[tuple[str, torch.Tensor]]:
    samples = dict(data.images("samples"))
    return [(name, centre_crop(samples[name], 128)) for name in ("chelsea", "coffee")]


@pytest.fixture
def lab(photos) -> widgets.Frame:
    return widgets.what_it_was_told(photos, [MODEL4, MODEL5], sigma=1.2)


def control(lab: widgets.Frame, description: str):
    return next(w for w in lab.children[0].children if w.description == description)


def tell(lab: widgets.Frame, true: float, told: float) -> None:
    control(lab, "true σ, HR pixels").value = true
    control(lab, "tell it").value = "something else"
    control(lab, "told σ, HR pixels").value = told


def predicted(lab: widgets.Frame) -> str:
    return lab.children[1].value


def restored(lab: widgets.Frame) -> str:
    return lab.children[2].value


def titled(text: str, title: str) -> np.ndarray:
    """The picture below a title, (H, W, 3), 8 bit."""
    figure = next(f for f in re.findall(r"<figure.*?</figure>", text, re.S) if f">{title}<" in f)
    png = base64.b64decode(re.search(r'base64,([^"]+)"', figure)[1])
    return np.asarray(Image.open(io.BytesIO(png)))


def psnrs(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"<figcaption[^>]*>PSNR-Y ([\d.]+) dB<", text)]


@torch.inference_mode()
def convolved(name: str, hr: torch.Tensor, true: float, told: float) -> tuple[list, torch.Tensor]:
    """What each DA convolution convolves with while the network runs, by a hook; and the SR."""
    model = weights.load(name)
    widths = [Degradations.isotropic(w, 4) for w in (true, told)]
    lr, other = (degrade(hr[None], width, backend="fast") for width in widths)
    seen = []
    for module in model.modules():
        if isinstance(module, DAConv):
            module.register_forward_hook(
                lambda m, inputs, out: seen.append(
                    (m.kernels(inputs[1])[0], m.coefficients(inputs[1])[0])
                )
            )
    if true == told:
        return seen, model(lr, Degradations.isotropic(true, 4))[0]
    wrong = model.represent(other, Degradations.isotropic(told, 4))
    return seen, model(lr, representation=wrong)[0]


@pytest.mark.parametrize("name", [MODEL4, MODEL5])
@pytest.mark.parametrize("told", [1.2, 3.4])
def test_what_is_shown_is_what_the_network_convolves_with(photos, name, told):
    telling = Telling(photos, [name])
    case = Case(name, "chelsea", 1.2, told)
    seen, sr = convolved(name, photos[0][1], 1.2, told)
    assert len(seen) == len(telling.convolutions[name]) == 12
    for layer, (kernels, coefficients) in enumerate(seen, start=1):
        shown = telling.predicted(case, layer)
        torch.testing.assert_close(shown.kernels, kernels)
        torch.testing.assert_close(shown.coefficients, coefficients)
    torch.testing.assert_close(telling.restored(case), sr.clamp(0, 1))


def test_the_pictures_on_the_page_are_those_kernels_and_that_sr(lab, photos):
    tell(lab, 1.2, 3.4)
    control(lab, "DA convolution").value = 9
    telling = Telling(photos, [MODEL4])
    seen, sr = convolved(MODEL4, photos[0][1], 1.2, 3.4)
    expected = mosaic(seen[8][0], telling.limit(MODEL4, "chelsea", 9))
    grid = titled(predicted(lab), "64 kernels, told σ = 3.4").transpose(2, 0, 1)
    np.testing.assert_allclose(grid, expected.numpy() * 255, atol=0.51)
    heights = re.findall(r'<rect[^>]*height="([\d.]+)"', predicted(lab))
    from_half = (seen[8][1] - 0.5).abs().numpy()
    np.testing.assert_allclose(np.array(heights, float), from_half * BARS, atol=0.051)
    shown = titled(restored(lab), "SR, told σ = 3.4").transpose(2, 0, 1)
    # A rounding of another batch may fall on the other side.
    np.testing.assert_allclose(shown, sr.clamp(0, 1).numpy() * 255, atol=1.01)


def test_told_the_truth_it_is_the_model_itself(lab, photos):
    hr = photos[0][1]
    with torch.inference_mode():
        lr = degrade(hr[None], Degradations.isotropic(1.2, 4), backend="fast")
        sr = weights.load(MODEL4)(lr)[0]
    shown = titled(restored(lab), "SR, told the truth").transpose(2, 0, 1)
    np.testing.assert_allclose(shown, sr.clamp(0, 1).numpy() * 255, atol=1.01)
    assert restored(lab).count("<img") == 2  # and HR


@pytest.mark.parametrize("name", [MODEL4, MODEL5])
@pytest.mark.parametrize(
    ("true", "told", "words"),
    [(1.0, 3.4, "more blur than there is"), (3.4, 1.0, "less blur than there is")],
)
def test_a_lie_is_paid_for_and_the_sentence_says_how(lab, name, true, told, words):
    control(lab, "network").value = name
    tell(lab, true, told)
    lie, truth = psnrs(restored(lab))
    assert lie < truth - 1
    assert words in restored(lab)
    assert ("Over-sharpened" if told > true else "Too soft") in restored(lab)
    cost = float(re.search(r"PSNR is ([\d.]+) dB below", restored(lab))[1])
    assert cost == pytest.approx(truth - lie, abs=0.011)


def test_the_sentence_says_what_was_measured():
    assert "told the truth" in verdict(2.0, 2.0, 0.0, 1.0)
    assert "more blur" in verdict(1.0, 2.0, -0.5, 0.9)
    assert "Too soft" in verdict(1.0, 2.0, -0.5, 0.9)
    assert "0.50 dB below" in verdict(1.0, 2.0, -0.5, 0.9)
    assert "Hardly any difference" in verdict(1.0, 1.1, 0.01, 1.005)
    assert "0.01 dB above" in verdict(1.0, 1.1, 0.01, 1.005)


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


def test_the_told_slider_is_there_only_for_a_lie(lab):
    told = control(lab, "told σ, HR pixels")
    assert told.layout.display == "none"
    control(lab, "tell it").value = "something else"
    assert told.layout.display is None
    told.value = 3.0
    assert predicted(lab).count("<img") == 3  # LR, the kernels told, the truth's
    control(lab, "tell it").value = "the truth"
    assert told.layout.display == "none"
    assert predicted(lab).count("<img") == 2


def test_every_picture_has_words_for_those_who_do_not_see_it(lab):
    tell(lab, 1.2, 3.4)
    text = predicted(lab) + restored(lab)
    assert text.count("<img") == 6
    alts = re.findall(r'alt="([^"]+)"', text) + re.findall(r'aria-label="([^"]+)"', text)
    assert len(alts) == len(set(alts)) == 7
    assert any("64 kernels that DA convolution 1 predicts, told σ = 3.4" in alt for alt in alts)
    assert any("64 coefficients" in alt for alt in alts)
    assert ">0</span>" in predicted(lab)  # the middle of the colours


def test_zero_is_white_and_signs_are_red_and_blue():
    kernels = torch.tensor([0.0, 1.0, -1.0]).view(3, 1, 1)
    picture = mosaic(kernels, 1.0)
    zero, plus, minus = (picture[:, 1, 1 + 2 * i] for i in range(3))
    assert zero.min() > 0.95
    assert plus[0] > 2 * plus[2]
    assert minus[2] > 2 * minus[0]


def test_what_goes_wrong_shows_in_the_widget_and_goes_away(photos):
    lab = widgets.what_it_was_told([*photos, ("dot", torch.rand(3, 8, 8))])
    control(lab, "picture").value = "dot"
    assert 'role="alert"' in lab.status.value
    assert "8×8 is too small for a 21×21 kernel" in lab.status.value
    control(lab, "picture").value = "coffee"
    assert lab.status.value == ""
    assert "the picture coffee" in restored(lab)


def test_what_cannot_be_shown_is_refused_at_the_door(photos):
    with pytest.raises(ValueError, match="model2 has no DA convolutions"):
        widgets.what_it_was_told(photos, "laptop/model2-x4-iso")
    with pytest.raises(ValueError, match=r"widths go from 0\.2 to 4\.0 HR pixels, got 5"):
        widgets.what_it_was_told(photos, sigma=5.0)
    with pytest.raises(ValueError, match="DA convolutions 1 to 12, got 13"):
        widgets.what_it_was_told(photos, layer=13)
    with pytest.raises(ValueError, match="at least one picture"):
        widgets.what_it_was_told([])


def test_a_network_without_modulation_says_so(photos):
    lab = widgets.what_it_was_told(photos, "laptop/model3-x4-iso", told=3.0)
    assert "no modulation branch" in predicted(lab)
    assert lab.status.value == ""


def test_networks_of_other_sizes_and_scales(photos, tmp_path):
    small = network.BlindSR(2, Sizes(groups=1, blocks=1, channels=16, tail_channels=8))
    path = weights.save(small, tmp_path / "small.safetensors")
    lab = widgets.what_it_was_told(photos, [MODEL4, path], layer=9)
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
