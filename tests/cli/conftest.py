"""What the tests of the console share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from dasrlib.cli import app


@pytest.fixture
def dasr() -> Callable[..., str]:
    """What a command says, both streams; its exit status is checked."""

    def run(*words: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result.output

    return run
