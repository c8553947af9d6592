"""What the console's commands share: an example in the help, and errors in one sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer


def example(text: str) -> str:
    """The last line of a command's help."""
    return f"Example:  {text}"


def one_sentence(command: Callable[..., Any]) -> Callable[..., Any]:
    """What went wrong, in one sentence and exit status 1, where it is the input's fault."""

    @functools.wraps(command)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except typer.Exit:  # a RuntimeError too, and no error
            raise
        except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
            # OSError's own text is a tuple of number and reason; those of this library are
            # sentences.
            typer.echo(f"dasr: {error}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            typer.echo("dasr: interrupted", err=True)
            raise typer.Exit(130) from None

    return told
