"""The sentence for an unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown_name_message(kind: str, name: object, known: Iterable[str]) -> str:
    """One sentence with the nearest known name: "no model is named 'modle4': did you mean …"."""
    names = list(known)
    lower = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1)
    hint = f"did you mean {lower[near[0]]!r}? " if near else ""
    return f"no {kind} is named {str(name)!r}: {hint}Expected one of {', '.join(names)}"
