"""An example in the help of a command, and errors as one sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer


def example(text: str) -> str:
    """The last line of a command's help."""
    return f"Example:  {text}"


def report_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Print the errors that an input can cause as one sentence, with exit status 1."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except typer.Exit:  # a subclass of RuntimeError, but not an error
            raise
        except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
            typer.echo(f"dasr: {error}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            typer.echo("dasr: interrupted", err=True)
            raise typer.Exit(130) from None

    return run
