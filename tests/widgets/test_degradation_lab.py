"""§3.1's lab: a slider changes what is shown, an error shows, and the first frame is a picture."""

from __future__ import annotations

import asyncio
import base64
import io
from datetime import datetime, timezone

import pytest
import torch
from PIL import Image

from dasrlib import widgets
from dasrlib.degradation import Degradations
from dasrlib.widgets.base.interactive_figure import Throttled
from dasrlib.widgets.lab import equation


def texture(seed: int) -> torch.Tensor:
    return torch.rand(3, 96, 100, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def lab() -> widgets.InteractiveFigure:
    return widgets.degradation_lab([("one", texture(0)), ("two", texture(1))])


def control(lab: widgets.InteractiveFigure, description: str):
    return next(w for w in lab.children[0].children if w.description == description)


def shown(lab: widgets.InteractiveFigure) -> tuple[str, str]:
    """The equation, and the pictures' html."""
    return lab.children[1].value, lab.children[2].value


@pytest.mark.parametrize(
    ("description", "value"),
    [("σ, HR pixels", 3.5), ("noise, of 255", 20.0), ("scale", 2), ("picture", "two")],
)
def test_a_control_changes_what_is_shown(lab, description, value):
    before = shown(lab)
    control(lab, description).value = value
    assert shown(lab) != before
    assert lab.status.value == ""


def test_the_anisotropic_sliders_replace_the_round_one(lab):
    sigma, angle = control(lab, "σ, HR pixels"), control(lab, "θ, degrees")
    assert (sigma.layout.display, angle.layout.display) == (None, "none")
    control(lab, "kernel").value = "anisotropic"
    assert (sigma.layout.display, angle.layout.display) == ("none", None)
    before = shown(lab)
    angle.value = 90.0
    assert shown(lab) != before


def test_the_equation_has_the_numbers_of_the_sliders():
    assert r"\sigma=2.4" in equation(Degradations.isotropic(2.4, 4))
    text = equation(Degradations.anisotropic(3.0, 1.0, torch.pi / 2, 2, noise=5.0))
    for part in (r"\lambda_1=3.0", r"\lambda_2=1.0", r"\theta=90", r"\downarrow_{2}", "+ n"):
        assert part in text


def test_every_picture_has_words_for_those_who_do_not_see_it(lab):
    html = shown(lab)[1]
    assert html.count("<img") == html.count('alt="') == 5
    assert "blurred with a round kernel of width 2.0" in html


def test_what_goes_wrong_shows_in_the_widget_and_goes_away(lab):
    upload = control(lab, "your own")
    file = {"name": "letter.png", "type": "image/png", "size": 3, "content": b"abc"}
    upload.value = ({**file, "last_modified": datetime.now(timezone.utc)},)
    assert "letter.png cannot be read as a picture" in lab.status.value
    assert 'role="alert"' in lab.status.value
    control(lab, "σ, HR pixels").value = 1.0
    assert lab.status.value == ""


def test_an_upload_is_the_picture_that_is_shown(lab):
    png = io.BytesIO()
    Image.new("RGB", (80, 64), (200, 30, 30)).save(png, "PNG")
    file = {"name": "red.png", "type": "image/png", "size": 1, "content": png.getvalue()}
    control(lab, "your own").value = ({**file, "last_modified": datetime.now(timezone.utc)},)
    assert control(lab, "picture").value == "red.png"
    assert "the picture red.png" in shown(lab)[1]


def test_a_second_upload_of_one_name_is_another_picture(lab):
    pictures = []
    for colour in ((200, 30, 30), (30, 200, 30)):
        png = io.BytesIO()
        Image.new("RGB", (80, 64), colour).save(png, "PNG")
        file = {"name": "mine.png", "type": "image/png", "size": 1, "content": png.getvalue()}
        control(lab, "your own").value = ({**file, "last_modified": datetime.now(timezone.utc)},)
        pictures.append(shown(lab)[1])
    assert pictures[0] != pictures[1]
    assert control(lab, "picture").value == "mine.png (2)"


def test_without_a_kernel_there_is_the_first_frame(lab):
    bundle = lab._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as picture:
        assert picture.size[0] > 800


def test_of_quick_moves_the_first_and_the_last_are_answered():
    position, answers = 0, []

    async def drag() -> None:
        nonlocal position
        later = Throttled(lambda: answers.append(position), seconds=1.0)
        while position < 5:
            position += 1
            later()
            await asyncio.sleep(0.01)
        while later.waiting:
            await asyncio.sleep(0.01)

    asyncio.run(drag())
    assert answers[0] == 1
    assert answers[-1] == 5
    assert len(answers) < 5


def test_a_lab_needs_a_picture():
    with pytest.raises(ValueError, match="at least one picture to degrade"):
        widgets.degradation_lab([])
