"""What to say of a name or a choice that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal, get_args, get_origin, get_type_hints


def unknown_name_message(kind: str, name: object, known: Iterable[str]) -> str:
    """One sentence with the nearest known name: "no model is named 'modle4': did you mean …"."""
    names = list(known)
    lower = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1)
    hint = f"did you mean {lower[near[0]]!r}? " if near else ""
    return f"no {kind} is named {str(name)!r}: {hint}Expected one of {', '.join(names)}"


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
