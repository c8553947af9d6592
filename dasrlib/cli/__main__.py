"""`python -m dasrlib.cli` is `dasr`."""

from dasrlib.cli.commands import app

if __name__ == "__main__":
    app()
