"""Sphinx configuration of the book; `python -m dasrlib.report` copies this folder and builds it."""

from __future__ import annotations

import importlib.util
import pkgutil
import re
from pathlib import Path

import dasrlib

project = "dasrlib"
author = "dasrlib contributors"
copyright = "2026, dasrlib contributors"
version = release = dasrlib.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = ["html", "doctrees", "jupyter_execute"]

# The outputs are papermill's: a page shows what ran, and building the book runs nothing again.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}
myst_enable_extensions = ["amsmath", "dollarmath", "html_image"]
myst_heading_anchors = 3

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

# The order in which the paper, and so the book, is read.
# fmt: off
FLOOR_PLAN = [
    "paper", "data", "downloads", "degradation", "reduction", "grouped_conv", "representation",
    "da_conv", "network", "baselines", "profiles", "patches", "steps", "training", "weights",
    "evaluation", "probes", "recipes", "recipe_study", "studies", "ablation", "pieces",
    "inference", "bench", "figures", "plots", "widgets", "console", "reproduce", "cli", "report",
]
# fmt: on


def api_page() -> str:
    """A section for each public module there is, in the order of the floor plan."""
    names = [m.name for m in pkgutil.iter_modules(dasrlib.__path__) if not m.name.startswith("_")]
    names.sort(key=lambda name: FLOOR_PLAN.index(name) if name in FLOOR_PLAN else len(FLOOR_PLAN))
    title = "The library\n===========\n"
    section = "\n{0}\n{1}\n\n.. automodule:: dasrlib.{0}\n"
    return title + "".join(section.format(name, "-" * len(name)) for name in names)


# In a sentence: roles, code and *emphasis*.
KEPT = r"(:\w+:`[^`]+`|`+[^`]+`+|(?<!\w)\*{1,2}[^\s*](?:[^*]*[^\s*])?\*{1,2}(?!\w))"


def plain_text(app, what, name, obj, options, lines):
    """Turn a docstring of plain sentences and `code` into RST that has no surprises.

    Docstrings here are written to be read in a terminal, where |s, ending_ and a second line that
    is indented mean nothing; what is RST already (roles, directives, >>> examples) stays as it is.
    """
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines))
    done = []
    for paragraph in paragraphs:
        text = paragraph.lstrip()
        if paragraph.startswith("    ") and done and done[-1].startswith(".. "):
            done[-1] += "\n\n" + paragraph  # the body of a directive
        elif text.startswith((".. ", ">>> ")):
            done.append(paragraph)
        elif paragraph.startswith("    "):
            done.append("::\n\n" + paragraph)
        else:
            flat = " ".join(line.strip() for line in text.splitlines())
            parts = re.split(KEPT, flat)
            for i, part in enumerate(parts):
                if i % 2 == 0:
                    parts[i] = re.sub(r"([\\*|_])", r"\\\1", part)
                elif part.startswith("`"):
                    parts[i] = f"``{part.strip('`')}``"
            done.append("".join(parts))
    lines[:] = "\n\n".join(done).splitlines()


def cover_picture(app, docname, source):
    """The picture of the quickstart on the cover, once it has been drawn."""
    picture = Path(app.srcdir) / "figures" / "quickstart.png"
    if docname == "index" and picture.exists():
        source[0] = source[0].replace(
            "% PICTURE", "![A photograph enlarged blind, beside bicubic](figures/quickstart.png)"
        )


def setup(app):
    (Path(app.srcdir) / "api.rst").write_text(api_page(), encoding="utf-8")
    app.connect("autodoc-process-docstring", plain_text)
    app.connect("source-read", cover_picture)
