"""Puts the notebooks and their figures into a wheel; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithSeries(build_py):
    """The modules, and in a wheel dasrlib/series/notebooks and dasrlib/series/figures too."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the checkout has them
            return
        left_out = shutil.ignore_patterns(".*", "__pycache__")
        for folder in ("notebooks", "figures"):
            target = Path(self.build_lib) / "dasrlib" / "series" / folder
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target, ignore=left_out)


setup(cmdclass={"build_py": WithSeries})
