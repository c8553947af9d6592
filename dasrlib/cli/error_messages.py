"""What the console prints in one way for all commands: help, errors, and letters it has not."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer


def example(text: str) -> str:
    """The last line of a command's help."""
    return f"Example:  {text}"


class Console(typer.Typer):
    """A Typer that prints "?" for a letter that the output has not, as σ in a pipe of Windows."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        return super().__call__(*args, **kwargs)


def _with_home(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_home(item) for item in value]
    return value.expanduser() if isinstance(value, Path) else value


def report_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Print the errors that an input can cause as one sentence, with exit status 1.

    A ~ in a path is the home folder, also where a shell leaves it (--out=~/x).
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = {name: _with_home(value) for name, value in kwargs.items()}
        try:
            return command(*args, **given)
        except typer.Exit:  # a subclass of RuntimeError, but not an error
            raise
        except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
            typer.echo(f"dasr: {error}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            typer.echo("dasr: interrupted", err=True)
            raise typer.Exit(130) from None

    return run
