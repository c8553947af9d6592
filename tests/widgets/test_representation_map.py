"""§4.2's map: a picture's point is the projection of what the encoder makes of it, and moves."""

from __future__ import annotations

import base64
import io
from datetime import datetime, timezone

import numpy as np
import pytest
import torch
from PIL import Image

from dasrlib import network, probes, weights, widgets
from dasrlib.degradation import Degradations, degrade
from dasrlib.widgets.point_map import widget
from dasrlib.widgets.point_map.space import ReferenceSet, RepresentationSpace
from dasrlib.widgets.point_map.widget import ScatterView

MODEL = "laptop/model4-x4-iso"
WIDTHS = (0.2, 2.0, 4.0)
ROUND = {f"σ = {width:g}": Degradations.isotropic(width, 4) for width in WIDTHS}
NOISES = {f"noise {n:g}": Degradations.anisotropic(2.0, 1.0, 0.5, 4, n) for n in (0.0, 20.0)}


def texture(seed: int, height: int = 96, width: int = 100) -> torch.Tensor:
    """Noise of one pixel and of four: a kernel of any width changes it."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(3, height // 4 + 1, width // 4 + 1, generator=generator)
    coarse = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :height, :width]
    return (coarse + torch.rand(3, height, width, generator=generator)) / 2


PICTURES = [(f"picture {i}", texture(i)) for i in range(5)]


@pytest.fixture(autouse=True)
def _three_widths(monkeypatch) -> None:
    monkeypatch.setattr(widget, "WIDTHS", WIDTHS)


@pytest.fixture(scope="module")
def model() -> network.BlindSR:
    return weights.load(MODEL)


@pytest.fixture(scope="module")
def space(model) -> RepresentationSpace:
    return RepresentationSpace(model, ReferenceSet(PICTURES, ROUND))


@pytest.fixture
def the_map() -> widgets.InteractiveFigure:
    return widgets.representation_map(PICTURES, MODEL)


def control(frame: widgets.InteractiveFigure, description: str):
    return next(w for w in frame.children[0].children if w.description == description)


def drawings(frame: widgets.InteractiveFigure) -> list[ScatterView]:
    return [box.children[0] for box in frame.children[1].children[:-1]]


def words(frame: widgets.InteractiveFigure) -> str:
    return frame.children[1].children[0].children[1].value


def shown(frame: widgets.InteractiveFigure) -> tuple[str, str]:
    own, square = frame.children[1].children[-1].children
    return own.value, square.value


def upload(frame: widgets.InteractiveFigure, name: str, content: bytes) -> None:
    file = {"name": name, "type": "image/png", "size": len(content), "content": content}
    control(frame, "your own").value = ({**file, "last_modified": datetime.now(timezone.utc)},)


@pytest.mark.parametrize(
    ("moves", "degradation"),
    [
        ({"σ, HR pixels": 3.1}, Degradations.isotropic(3.1, 4)),
        ({"noise, of 255": 12.0}, Degradations.isotropic(2.0, 4, 12.0)),
        (
            {"kernel": "anisotropic", "λ₁, HR pixels": 3.0, "θ, degrees": 90.0},
            Degradations.anisotropic(3.0, 1.0, torch.pi / 2, 4),
        ),
    ],
    ids=["width", "noise", "anisotropic"],
)
def test_the_moving_point_is_the_projection_of_what_the_encoder_says(
    the_map, model, moves, degradation
):
    control(the_map, "picture").value = "picture 2"
    for description, value in moves.items():
        control(the_map, description).value = value
    lr = degrade(PICTURES[2][1][None], degradation, torch.Generator().manual_seed(0), "fast")
    known = []  # worked out again, one picture at a time
    for _, picture in PICTURES:
        for width in WIDTHS:
            one = degrade(picture[None], Degradations.isotropic(width, 4), backend="fast")
            with torch.inference_mode():
                known.append(model.represent(one)[0].double().numpy())
    with torch.inference_mode():
        vector = model.represent(lr)[0].double().numpy()
    centred = np.stack(known) - np.mean(known, axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2].T
    expected = (vector - np.mean(known, axis=0)) @ axes
    [drawing] = drawings(the_map)
    # The sign of a component is free, but the same for all points.
    signs = np.sign((centred @ axes)[0] * np.array(drawing.points[0][:2]))
    np.testing.assert_allclose(drawing.moving, expected * signs, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        [p[:2] for p in drawing.points], centred @ axes * signs, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_more_blur_lies_to_the_right_whatever_sign_the_components_have(model, monkeypatch, sign):
    represent = model.represent
    # PCA fixes the signs of its components, not those of the places on them.
    monkeypatch.setattr(model, "represent", lambda *given: sign * represent(*given))
    space = RepresentationSpace(model, ReferenceSet(PICTURES, ROUND))
    across = space.pca.transform(space.vectors)[:, 0].reshape(-1, len(WIDTHS)).mean(axis=0)
    assert across[0] < across[-1]


def test_the_point_leaves_a_trail_that_a_new_picture_ends(the_map):
    [drawing] = drawings(the_map)
    places = [drawing.moving]
    for sigma in (1.0, 2.5, 4.0):
        control(the_map, "σ, HR pixels").value = sigma
        places.append(drawing.moving)
    assert len({tuple(place) for place in places}) == 4
    assert drawing.trail == places[:-1]
    control(the_map, "picture").value = "picture 1"
    assert drawing.trail == []


def test_a_known_picture_at_a_known_width_lands_on_its_own_point(the_map):
    [drawing] = drawings(the_map)
    control(the_map, "picture").value = "picture 3"
    control(the_map, "σ, HR pixels").value = 4.0
    index = 3 * len(WIDTHS) + 2
    assert drawing.texts[index] == "picture 3, σ = 4"
    np.testing.assert_allclose(drawing.moving, drawing.points[index][:2], atol=1e-3)


@pytest.mark.parametrize("index", [0, 7])
def test_a_click_shows_the_square_of_the_point(the_map, index):
    [drawing] = drawings(the_map)
    before = shown(the_map)[1]
    assert "<img" not in before
    drawing.selected = index  # what the browser sets
    name, picture = PICTURES[index // len(WIDTHS)]
    width = WIDTHS[index % len(WIDTHS)]
    html = shown(the_map)[1]
    assert f'alt="{name}, σ = {width:g}"' in html
    png = base64.b64decode(html.split("base64,")[1].split('"')[0])
    with Image.open(io.BytesIO(png)) as image:
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255
    lr = degrade(picture[None], Degradations.isotropic(width, 4), backend="fast")[0]
    torch.testing.assert_close(pixels, lr)


def test_the_words_name_the_nearest_clusters_and_the_width(the_map):
    control(the_map, "σ, HR pixels").value = 4.0
    assert "4 at σ = 4" in words(the_map)  # all that the four other pictures have
    far = float(words(the_map).split("(ridge): <b>")[1].split("<")[0])
    control(the_map, "σ, HR pixels").value = 0.2
    assert "4 at σ = 0.2" in words(the_map)
    assert float(words(the_map).split("(ridge): <b>")[1].split("<")[0]) < far - 1


def test_a_picture_is_never_compared_with_its_own_squares(space):
    vector = space.vectors[4:5]  # picture 1, σ = 2
    near, _ = space.nearest(vector, "picture 1")
    assert "picture 1" not in {space.reference.names[i] for i in near}
    assert space.nearest(vector, "a stranger")[0][0] == 4
    others = space.others("picture 1")
    names, widths = (
        np.array(space.reference.names)[others],
        np.array(space.reference.widths)[others],
    )
    ridge = probes.fit_ridge(space.vectors[others], widths, names)
    assert space.read_width(vector, "picture 1") == pytest.approx(float(ridge.predict(vector)[0]))
    assert space.read_width(vector, "picture 1") != pytest.approx(
        space.read_width(vector, "a stranger")
    )


def neighbours(model, name: str, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """The nearest five points of other pictures, worked out again: their indices and distances."""
    vectors, own = [], None
    for other, picture in PICTURES:
        for width in WIDTHS:
            with torch.inference_mode():
                lr = degrade(picture[None], Degradations.isotropic(width, 4), backend="fast")
                vectors.append(model.represent(lr)[0].double().numpy())
            if (other, width) == (name, sigma):
                own = vectors[-1]
    unit = np.std(vectors, axis=0)
    away = np.linalg.norm((np.stack(vectors) - own) / np.where(unit == 0, 1, unit), axis=1)
    away[[place // len(WIDTHS) == int(name[-1]) for place in range(len(away))]] = np.inf
    nearest = np.argsort(away)[:5]
    return nearest, away[nearest]


@pytest.mark.parametrize("sigma", [0.2, 4.0])
def test_in_tsne_the_point_stands_between_its_neighbours_and_it_is_said(the_map, model, sigma):
    # t-SNE gives another map on another processor. True on any of them: the point is the mean of
    # its neighbours' places, and the nearer they are in 256 dimensions, the more they count.
    [drawing] = drawings(the_map)
    assert "exact" in drawing.note
    control(the_map, "picture").value = "picture 3"
    control(the_map, "σ, HR pixels").value = sigma
    control(the_map, "map").value = "tsne"
    assert "no exact place for a new point" in drawing.note
    assert "nearest neighbours" in drawing.note
    assert the_map.status.value == ""
    nearest, away = neighbours(model, "picture 3", sigma)
    places = np.array(drawing.points)[nearest, :2]
    expected = (places / away[:, None]).sum(axis=0) / (1 / away).sum()
    # A thousandth of the map: batches of another size round the vectors differently.
    room = 1e-3 * np.ptp(np.array(drawing.points)[:, :2])
    np.testing.assert_allclose(drawing.moving, expected, atol=room)


def test_the_clusters_are_the_degradations_that_are_named(model):
    frame = widgets.representation_map(PICTURES, MODEL, NOISES)
    [drawing] = drawings(frame)
    assert [cluster["name"] for cluster in drawing.clusters] == [*NOISES]
    assert drawing.texts[:3] == ["picture 0, noise 0", "picture 0, noise 20", "picture 1, noise 0"]
    control(frame, "kernel").value = "anisotropic"
    control(frame, "noise, of 255").value = 20.0
    assert "4 at noise 20" in words(frame)
    assert "σ" not in words(frame)  # no width to read: all clusters have one


def test_a_noisy_point_is_the_square_that_a_click_shows(model):
    reference = ReferenceSet(PICTURES, NOISES)
    space = RepresentationSpace(model, reference)
    with torch.inference_mode():
        again = model.represent(reference.lr(3)[None]).double().numpy()
    np.testing.assert_allclose(space.vectors[3:4], again)
    flat = [(name, torch.full((3, 32, 32), 0.5)) for name, _ in PICTURES]
    same = ReferenceSet(flat, NOISES)
    assert not torch.equal(same.lr(1), same.lr(3))  # two pictures, one degradation: own noise


def test_several_models_move_together(the_map):
    both = widgets.representation_map(PICTURES, ["laptop/model1-x4-iso", MODEL])
    one, four = drawings(both)
    assert (one.title, four.title) == ("laptop/model1-x4-iso", MODEL)
    assert four.points == drawings(the_map)[0].points
    before = [one.moving, four.moving]
    control(both, "σ, HR pixels").value = 3.5
    assert one.moving != before[0]
    assert four.moving != before[1]
    assert one.points != four.points
    one.selected = 5
    assert four.selected == 5


def test_a_network_of_ones_own_is_read_and_left_as_it_was():
    torch.manual_seed(0)
    mine = network.build("model4", scale=2, profile="smoke").train()
    before = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    frame = widgets.representation_map(PICTURES, mine)
    assert control(frame, "scale").layout.display == "none"
    assert frame.status.value == ""
    assert mine.training
    for name, tensor in mine.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_what_goes_wrong_shows_in_the_widget_and_goes_away(the_map):
    upload(the_map, "letter.png", b"abc")
    assert "letter.png cannot be read as a picture" in the_map.status.value
    assert 'role="alert"' in the_map.status.value
    control(the_map, "σ, HR pixels").value = 1.0
    assert the_map.status.value == ""


def test_an_upload_is_the_picture_that_moves(the_map):
    png = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (80, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(png, "PNG")
    before = drawings(the_map)[0].moving
    upload(the_map, "mine.png", png.getvalue())
    assert control(the_map, "picture").value == "mine.png"
    assert drawings(the_map)[0].moving != before
    assert 'alt="mine.png, blurred with a round kernel of width 2.0"' in shown(the_map)[0]


def test_every_point_and_every_picture_has_words(the_map):
    [drawing] = drawings(the_map)
    drawing.selected = 3
    assert len(drawing.texts) == len(set(drawing.texts)) == len(drawing.points)
    for html in shown(the_map):
        assert html.count("<img") == html.count('alt="') == 1
    names = [cluster["name"] for cluster in drawing.clusters]
    assert names == ["σ = 0.2", "σ = 2", "σ = 4"]


def test_without_a_kernel_there_is_the_first_frame(the_map):
    bundle = the_map._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as picture:
        assert picture.size[0] > 800


def test_the_points_are_the_middles_of_at_most_30_pictures_spread_evenly():
    small = texture(1)
    few = ReferenceSet([("wide", texture(0, 300, 400)), ("small", small)], ROUND)
    assert few.names == ["wide"] * 3 + ["small"] * 3
    assert few.labels == ["σ = 0.2", "σ = 2", "σ = 4"] * 2
    assert few.widths == pytest.approx([*WIDTHS] * 2)
    assert [few.lr(i).shape[-1] for i in range(6)] == [64] * 3 + [25] * 3
    many = ReferenceSet([(str(i), small[:, :48, :48]) for i in range(60)], ROUND)
    assert many.names[::3] == [str(i) for i in range(0, 60, 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((PICTURES, "laptop/model5-x4-iso"), "model5-x4-iso is non-blind"),
        ((PICTURES, "laptop/modle4-x4-iso"), "did you mean 'laptop/model4-x4-iso'"),
        ((PICTURES[:2], MODEL), "3 pictures .* got 2"),
        ((PICTURES, [MODEL, network.build("model4", 2, "smoke")]), r"scale, got \[2, 4\]"),
        ((PICTURES, MODEL, {"one": NOISES["noise 0"]}), "2 to 6 degradations, got 1"),
        ((PICTURES, MODEL, NOISES | {"x": Degradations.isotropic(1, 2)}), "'x' holds 1 for ×2"),
        ((PICTURES, MODEL, NOISES | {"x": Degradations.isotropic([1, 2], 4)}), "'x' holds 2"),
    ],
)
def test_what_cannot_be_mapped_is_refused_in_a_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        widgets.representation_map(*arguments)
