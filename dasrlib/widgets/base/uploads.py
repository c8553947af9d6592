"""Pictures that come from the browser."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import Tensor

from dasrlib import data


def open_upload(name: str, content: bytes | memoryview) -> Tensor:
    """The picture (3, H, W) in a file from the browser; load_image's errors name that file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            return data.load_image(path)
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), name)) from error
