"""The console `dasr`: a file for its commands, one for `dasr reproduce`, one for its messages."""

from dasrlib.cli.commands import app as app
