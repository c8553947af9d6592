"""Where the notebooks and the kept figures are: in a checkout, or inside an installed package."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The folder that holds notebooks/ and figures/; a wheel has them inside the package."""
    checkout = PACKAGE.parent
    return checkout if (checkout / "notebooks").is_dir() else PACKAGE / "series"


def is_writable() -> bool:
    """Whether this is a checkout in which its user may write; a course folder often is not."""
    return root() != PACKAGE / "series" and os.access(root() / "figures", os.W_OK)


def copy_to(folder: str | Path) -> Path:
    """Copies notebooks/ and figures/ into a folder; returns it.

    A file that is there already stays as it is: somebody may have written in it.

    Raises:
        FileNotFoundError: the package was installed without its notebooks.
        ValueError: the folder is the one that they are in.
    """
    target, source = Path(folder).expanduser().absolute(), root()
    if not (source / "notebooks").is_dir():
        raise FileNotFoundError(
            f"there are no notebooks in {source}: install dasrlib from a wheel or from a checkout"
        )
    if target.resolve() == source.resolve():
        raise ValueError(f"{target} holds the notebooks already: name another folder")

    def copy(one: str, other: str) -> str:
        return other if os.path.lexists(other) else shutil.copyfile(one, other)

    for part in ("notebooks", "figures"):
        left_out = shutil.ignore_patterns(".*", "__pycache__")
        shutil.copytree(
            source / part, target / part, ignore=left_out, copy_function=copy, dirs_exist_ok=True
        )
    return target
