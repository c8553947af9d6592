"""What to say of a name or a choice that is not known, and of pictures that are none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor


def unknown_name_message(kind: str, name: object, known: Iterable[str]) -> str:
    """One sentence with the nearest known name: "no model is named 'modle4': did you mean …".

    The nearest is the name with a part that differs in the fewest letters, a third of them at most;
    among several such names the one that differs least as a whole, then the first.
    """
    names = list(known)
    asked = str(name).lower()
    apart = {
        candidate: (
            _letters_apart(asked, candidate.lower(), whole=False),
            _letters_apart(asked, candidate.lower(), whole=True),
        )
        for candidate in names
    }
    near = [candidate for candidate in names if apart[candidate][0] <= len(asked) // 3]
    hint = f"did you mean {min(near, key=apart.__getitem__)!r}? " if asked and near else ""
    return f"no {kind} is named {str(name)!r}: {hint}Expected one of {', '.join(names)}"


def _letters_apart(asked: str, known: str, whole: bool) -> int:
    """How many letters to add, leave out, change or swap to make `known`, or a part of it."""
    before: list[int] = []
    row = list(range(len(known) + 1)) if whole else [0] * (len(known) + 1)
    for i, letter in enumerate(asked, 1):
        two_before, before, row = before, row, [i]
        for j, other in enumerate(known, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == known[j - 2] and asked[i - 2] == other:
                cost = min(cost, two_before[j - 2] + 1)
            row.append(cost)
    return row[-1] if whole else min(row)


def check_choice(name: str, value: object, choices: object) -> None:
    """Raises ValueError with the choices where a value is not one of a Literal's."""
    if value not in get_args(choices):
        expected = ", ".join(repr(choice) for choice in get_args(choices))
        raise ValueError(f"{name} must be one of {expected}, got {value!r}")


def check_choices(item: object) -> None:
    """check_choice of every field of a dataclass instance that is annotated as a Literal."""
    for name, hint in get_type_hints(type(item)).items():
        if get_origin(hint) is Literal:
            check_choice(name, getattr(item, name), hint)


def check_number(
    name: str,
    value: object,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    whole: bool = False,
) -> None:
    """Raises ValueError where a setting is no finite number, or not within these bounds.

    whole: it must be a whole number. True and False are no numbers.
    """
    kind = Integral if whole else Real
    fits = isinstance(value, kind) and not isinstance(value, bool)
    number = float(value) if fits else math.nan  # type: ignore[arg-type]
    fits = math.isfinite(number)
    expected = []
    for words, bound, holds in (
        ("at least", at_least, at_least is None or number >= at_least),
        ("above", above, above is None or number > above),
        ("at most", at_most, at_most is None or number <= at_most),
        ("below", below, below is None or number < below),
    ):
        fits = fits and holds
        if bound is not None:
            expected.append(f"{words} {bound:g}")
    if not fits:
        bounds = " and ".join(expected)
        said = f"a {'whole' if whole else 'finite'} number{bounds and ', ' + bounds}"
        raise ValueError(f"{name} must be {said}, got {value!r}")


def check_batch(images: Tensor, channels: int | None = None) -> None:
    """Raises ValueError where images are no batch of float pictures (B, C, H, W).

    channels: how many C must be; None for any number. Values are not looked at.
    """
    shape, expected = tuple(images.shape), channels or "C"
    if not images.is_floating_point():
        raise ValueError(f"expected float pictures, got {images.dtype}: divide bytes by 255")
    if images.ndim != 4 or channels not in (None, shape[1]):
        raise ValueError(f"expected a batch of pictures (B, {expected}, H, W), got {shape}")
    if images.numel() == 0:
        raise ValueError(f"the batch holds no pixels: got {shape}")


def check_pictures(images: Tensor, channels: int | None = 3) -> None:
    """check_batch, and ValueError for values that are not in [0, 1], as those of 0..255 are not.

    Networks overshoot, far where they are told something wrong. So only values outside [−16, 17]
    are refused. Those of a GPU are not looked at: the look would wait for all of its work.
    """
    check_batch(images, channels)
    if images.device.type != "cpu":
        return
    low, high = (float(value) for value in torch.aminmax(images.detach()))
    if not -16 <= low <= high <= 17:  # NaN is refused as well
        raise ValueError(
            f"expected pictures in [0, 1], got values from {low:g} to {high:g}: "
            "divide those of 0..255 by 255"
        )
