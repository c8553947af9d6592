"""Pictures that come from the browser."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from dasrlib import data


def open_upload(
    name: str,
    content: bytes | memoryview,
    load: Callable[[Path], Tensor] = data.load_image,
) -> Tensor:
    """The picture (3, H, W) in a file that came from the browser.

    Raises what load raises, in the file's own name.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            return load(path)
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), name)) from error
