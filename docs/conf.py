"""Sphinx configuration of the book; `python -m dasrlib.book` copies this folder and builds it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import dasrlib
from dasrlib import figures
from dasrlib.book import results

project = "dasrlib"
author = "dasrlib contributors"
copyright = "2026, dasrlib contributors"
version = release = dasrlib.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["html", "doctrees", "jupyter_execute"]

# The outputs are papermill's: a page shows what ran, and building the book runs nothing again.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}
myst_enable_extensions = ["amsmath", "dollarmath", "html_image"]
myst_heading_anchors = 3
HERE = Path(__file__).parent
# run.json is what dasrlib.book.build keeps of the run.
RUN = json.loads((HERE / "run.json").read_text(encoding="utf-8"))
VARIABLES = results.variables(figures.read_all(HERE / "figures"), RUN)


def fill_in(app, page, source):
    """Sphinx's call for every page: the numbers of the hand-written ones."""
    if (HERE / f"{page}.md").parent == HERE:
        source[0] = results.fill_in(source[0], VARIABLES)


def setup(app):
    """Sphinx's call at its start."""
    app.connect("source-read", fill_in)


html_theme = "sphinx_book_theme"
html_title = "DASR, section by section"
html_show_copyright = False
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the side bar has a search field already
    "show_toc_level": 2,
    "use_download_button": True,
    "use_fullscreen_button": False,
}

# The book opens from a folder, with no network: MathJax is one file beside the pages.
mathjax = importlib.util.find_spec("sphinx-mathjax-offline")
mathjax_file = Path(mathjax.origin).parent / "static" / "mathjax" / "tex-svg.js"
html_static_path = ["_static", str(mathjax_file)]
html_css_files = ["book.css"]
mathjax_path = mathjax_file.name

# Triton comes with PyTorch on Linux; the pages of the GPU kernels are built without it elsewhere.
autodoc_mock_imports = [] if importlib.util.find_spec("triton") else ["triton"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": True}
add_module_names = False
# A page for each module, from _templates/; `code` in a docstring is code.
templates_path = ["_templates"]
autosummary_ignore_module_all = False  # what a package hands on has no second page
default_role = "code"
napoleon_numpy_docstring = False
