"""Bad input to every public function that takes pictures: one sentence, never a wrong number."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dasrlib import degradation, errors, evaluation, inference, jpeg, weights
from dasrlib.degradation import Degradations
from dasrlib.systems import DEFAULT_WEIGHTS

KERNEL = degradation.isotropic_kernels(1.2)
NAN = float("nan")

Door = Callable[[Tensor], object]
# Linear, so they take floats of any range: what they refuse is not a batch of pictures.
LINEAR: dict[str, Door] = {
    "blur": lambda x: degradation.blur(x, KERNEL),
    "resize_bicubic": lambda x: degradation.resize_bicubic(x, 0.25),
}
DOORS: dict[str, Door] = {
    "degrade": lambda x: degradation.degrade(x, Degradations.isotropic(1.2, 4)),
    "degrade, fast": lambda x: degradation.degrade(
        x, Degradations.isotropic(1.2, 4), backend="fast"
    ),
    "jpeg": lambda x: jpeg.compress(x, torch.tensor([50.0])),
    "bicubic": lambda x: evaluation.Bicubic(4).restore(x),
    "restore": lambda x: weights.load(DEFAULT_WEIGHTS).restore(x),
    "psnr_y": lambda x: evaluation.psnr_y(x, x.flip(-1), 4),
    "psnr_y, truth": lambda x: evaluation.psnr_y(torch.rand_like(x.float()), x, 4),
    "ssim_y": lambda x: evaluation.ssim_y(x, x.flip(-1), 4),
    "upscale": lambda x: inference.upscale(x[0] if x.ndim == 4 and len(x) else x, DEFAULT_WEIGHTS),
}
SOUND = torch.linspace(0, 1, 3 * 40 * 48).view(1, 3, 40, 48)
NO_BATCHES = {
    "bytes": (SOUND * 255).byte(),
    "whole numbers": (SOUND * 255).long(),
    "one grey plane": SOUND[0, 0],
    "an empty batch": SOUND[:0],
    "no rows": SOUND[:, :, :0],
}
NO_PICTURES = {
    **NO_BATCHES,
    "0..255": SOUND * 255,
    "NaN": SOUND.index_fill(-1, torch.tensor([5]), NAN),
    "infinity": SOUND.index_fill(-1, torch.tensor([5]), float("inf")),
    "channels last": SOUND.permute(0, 2, 3, 1),
    "four channels": SOUND[:, [0, 1, 2, 0]],
}
CASES = [
    pytest.param(door, picture, id=f"{name}: {what}")
    for doors, pictures in ((DOORS, NO_PICTURES), (LINEAR, NO_BATCHES))
    for name, door in doors.items()
    for what, picture in pictures.items()
]


@pytest.mark.parametrize(("door", "picture"), CASES)
def test_what_is_no_picture_is_refused_in_a_sentence(door: Door, picture: Tensor):
    with pytest.raises(ValueError, match=r"expected|too small|no pixels|must be") as error:
        door(picture)
    assert len(str(error.value)) < 200
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [*DOORS, *LINEAR])
def test_a_picture_is_taken(name: str):
    """Else the tests above could pass because of something else."""
    (DOORS | LINEAR)[name](SOUND)


def test_an_overshoot_is_taken():
    assert evaluation.psnr_y(SOUND * 1.2 - 0.1, SOUND, 4) > 20


def test_bytes_are_told_what_to_do():
    for picture in (SOUND * 255, (SOUND * 255).byte()):
        with pytest.raises(ValueError, match="by 255"):
            evaluation.psnr_y(picture, picture, 4)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: evaluation.psnr_y(SOUND, SOUND, -1), "shave is -1"),
        (lambda: degradation.blur(SOUND, torch.ones(1, 15, 21) / 315), "square kernels"),
        (lambda: degradation.blur(SOUND, torch.ones(15, 15) / 225), "square kernels"),
        (lambda: degradation.resize_bicubic(SOUND, float("inf")), "scale must be positive"),
        (lambda: degradation.resize_bicubic(SOUND, NAN), "scale must be positive"),
    ],
)
def test_wrong_numbers_beside_a_picture(call: Callable[[], object], said: str):
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("laptop/model4", "laptop/model4-x4-iso"),
        ("laptop/modle4-x4-iso", "laptop/model4-x4-iso"),
        # Once "did you mean 'laptop/model5-x4-iso'", which is not blind.
        ("laptop/modl4", "laptop/model4-x4-iso"),
        ("model5-x4-anis", "laptop/model5-x4-aniso"),
    ],
)
def test_the_nearest_weights_are_named(name: str, near: str):
    with pytest.raises(ValueError, match=f"did you mean '{near}'"):
        weights.load(name)


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("Sett14", ["Set5", "Set14"], "Set14"),
        ("Set", ["Set14", "Set5"], "Set5"),
        ("BSD400", ["B100", "BSDS400"], "BSDS400"),
        ("acb", ["abd", "abc"], "abc"),  # two letters in the wrong order are one mistake
        ("DIV2k", ["Flickr2K", "DIV2K"], "DIV2K"),
        ("photo", ["model4", "srcnn"], None),
        ("", ["model4"], None),
    ],
)
def test_the_nearest_differs_in_the_fewest_letters(name: str, known: list[str], near: str | None):
    said = errors.unknown_name_message("name", name, known)
    assert said.startswith(f"no name is named {name!r}: ")
    assert (f"did you mean {near!r}?" in said) if near else ("did you mean" not in said)


def test_a_beginning_is_nearer_than_a_likeness():
    said = errors.unknown_name_message("system", "model", ["mode", "model4", "model5"])
    assert "did you mean 'model4'" in said
