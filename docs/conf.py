"""Sphinx configuration of the book; `python -m dasrlib.book` copies this folder and builds it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path

import nbformat
from docutils import nodes

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
add_module_names = False

# The lines of the floor plan.
FLOOR_PLAN = re.findall(r"^(\w+)  ", dasrlib.__doc__ or "", re.M)[1:]


def modules() -> dict[str, list[str]]:
    """The public modules there are, in the order of the floor plan, each with those inside it."""
    names = [m.name for m in pkgutil.iter_modules(dasrlib.__path__) if not m.name.startswith("_")]
    names.sort(key=lambda name: FLOOR_PLAN.index(name) if name in FLOOR_PLAN else len(FLOOR_PLAN))
    found = {}
    for name in names:
        here = pkgutil.iter_modules([str(Path(dasrlib.__path__[0], name))])
        inside = {m.name for m in here if not m.name.startswith("_")}
        # A module with the name of what its package hands on is on the package's page already.
        handed_on = getattr(importlib.import_module(f"dasrlib.{name}"), "__all__", ())
        found[name] = sorted(inside.difference(handed_on))
    return found


def first_sentence(name: str) -> str:
    """What a module is for, from its file alone: importing it may need a GPU's packages."""
    path = Path(dasrlib.__path__[0], *name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    sentence = [" ".join(text.split("\n\n")[0].split())]
    plain_text(None, "module", name, None, None, sentence)
    return " ".join(sentence)


def api_page(name: str, inside: list[str]) -> str:
    """A module's page; a package's also leads to the modules inside it."""
    page = f"{name}\n{'=' * len(name)}\n\n.. automodule:: dasrlib.{name}\n"
    if inside:
        lines = "".join(f"   {module} <{name}.{module}>\n" for module in inside)
        page += f"\n.. toctree::\n   :maxdepth: 1\n\n{lines}"
    return page


def write_api(folder: Path) -> None:
    """A page for each module, and the page that lists them with what each is for."""
    (folder / "api").mkdir(exist_ok=True)
    listed, contents = "", ""
    for name, inside in modules().items():
        for module, below in [(name, inside), *((f"{name}.{m}", []) for m in inside)]:
            page = api_page(module, below)
            (folder / "api" / f"{module}.rst").write_text(page, encoding="utf-8")
            listed += f":doc:`{module} <api/{module}>`\n   {first_sentence(module)}\n\n"
        contents += f"   api/{name}\n"
    text = API.format(
        plan=inspect.cleandoc(dasrlib.__doc__ or ""), modules=listed, contents=contents
    )
    (folder / "api.rst").write_text(text, encoding="utf-8")


API = """\
The library
===========

{plan}

In the order of this plan, ``dasrlib.`` stands before each name:

{modules}
.. toctree::
   :hidden:

{contents}"""


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
        source[0] = source[0].replace("% PICTURE", COVER)


COVER = """```{image} figures/quickstart.png
:alt: A detail under three degrees of blur: given, enlarged by bicubic, enlarged blind, the original
:class: cover
```"""


def figure_texts(app, doctree):
    """A figure that a cell drew is called by what is written on it, not by its file's name."""
    path = app.env.doc2path(app.env.docname)
    if path.suffix != ".ipynb":
        return
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = [o.data.get("text/plain", "") for o in outputs if "image/png" in o.get("data", {})]
    places = [part for part in doctree.findall(nodes.container)
              if part.get("nb_element") == "cell_code_output"]  # fmt: skip
    images = [image for place in places for image in place.findall(nodes.image)]
    # One that has no text keeps the file's name, which the proofreading reports.
    for image, text in zip(images, texts, strict=True) if len(images) == len(texts) else ():
        if text and not text.startswith("<"):
            image["alt"] = text


def setup(app):
    write_api(Path(app.srcdir))
    app.connect("autodoc-process-docstring", plain_text)
    app.connect("source-read", cover_picture)
    app.connect("doctree-read", figure_texts)
