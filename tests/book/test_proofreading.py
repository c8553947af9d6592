"""A built book is read for links that lead nowhere, silent pictures and headings out of order."""

from __future__ import annotations

from pathlib import Path

import pytest

from dasrlib.book import build, proofreading

GOOD = """\
<!DOCTYPE html><html lang="en"><head><link rel="stylesheet" href="style.css?v=1"></head><body>
<h1 class="print-only">Title</h1>
<article><h1 id="top">Title</h1><h2>First</h2><h3>Detail</h3><h2>Second</h2>
<a href="#top">up</a> <a href="">here</a> <a href="deep/two.html#a%20place">two</a>
<a href="https://arxiv.org/abs/2104.00416">the paper</a> <a href="mailto:a@b.org">a letter</a>
<img src="a%20figure.png" alt="Two lines that cross"> <img src="data:image/png;base64,AA" alt="dot">
{planted}</article></body></html>
"""
TWO = '<html lang="en"><body><article><h1>Two</h1><p id="a place"></p></article></body></html>'


def book(folder: Path, planted: str = "") -> Path:
    folder = folder / "html"
    (folder / "deep").mkdir(parents=True)
    (folder / "index.html").write_text(GOOD.format(planted=planted), encoding="utf-8")
    (folder / "deep" / "two.html").write_text(TWO, encoding="utf-8")
    for name in ("style.css", "a figure.png"):
        (folder / name).touch()
    (folder.parent / "outside.html").write_text(TWO)
    return folder


def test_a_good_book_has_no_mistake(tmp_path: Path) -> None:
    assert proofreading.proofread(book(tmp_path)) == []


@pytest.mark.parametrize(
    ("planted", "mistake"),
    [
        ('<a href="three.html">three</a>', "'three.html' leads to a file that does not exist"),
        ('<a href="deep">a folder</a>', "'deep' leads to a file that does not exist"),
        ('<a href="#nowhere">down</a>', "'#nowhere' leads to an anchor that is not on that page"),
        (
            '<a href="deep/two.html#top">two</a>',
            "#top' leads to an anchor that is not on that page",
        ),
        ('<img src="lost.png" alt="A cat">', "'lost.png' leads to a file that does not exist"),
        ('<script src="lost.js"></script>', "'lost.js' leads to a file that does not exist"),
        ('<a href="../outside.html">out</a>', "'../outside.html' leads out of the book"),
        ('<a href="/deep/two.html">root</a>', "starts at the root of a site"),
        (
            '<a href="http://arxiv.org/">plain</a>',
            "'http://arxiv.org/' is not a complete https address",
        ),
        ('<a href="https://">none</a>', "'https://' is not a complete https address"),
        ('<a href="https://arxiv org/abs">space</a>', "is not a complete https address"),
        ('<a href="https://[arxiv">bracket</a>', "is not an address"),
        ('<a href="//arxiv.org/">no scheme</a>', "is not a complete https address"),
        ('<img src="a%20figure.png">', "has no alt text"),
        ('<img src="a%20figure.png" alt="">', "has no alt text"),
        ('<img src="a%20figure.png" alt="../_images/0f3a.png">', "has no alt text"),
        ("<h4>Too deep</h4>", "a heading of level 4 follows one of level 2"),
        ("<h1>Again</h1>", "has 2 headings of level 1, expected one"),
    ],
)
def test_a_planted_mistake_is_found_and_is_the_only_one(
    tmp_path: Path, planted: str, mistake: str
) -> None:
    found = proofreading.proofread(book(tmp_path, planted))
    assert len(found) == 1
    assert found[0].startswith("index.html: ")
    assert mistake in found[0]


def test_a_page_without_a_language_is_found(tmp_path: Path) -> None:
    folder = book(tmp_path)
    two = folder / "deep" / "two.html"
    two.write_text(two.read_text().replace(' lang="en"', ""))
    assert proofreading.proofread(folder) == [
        "deep/two.html: the page has no language: give its html element a lang"
    ]


@pytest.mark.parametrize(
    ("link", "built"), [("index.html", True), ("genindex.html#not-there", False)]
)
def test_a_broken_link_fails_the_build(
    tmp_path: Path, capfd: pytest.CaptureFixture, link: str, built: bool
) -> None:
    pytest.importorskip("sphinx", reason="Sphinx is not installed")
    theme = 'html_theme = "sphinx_book_theme"\nexclude_patterns = ["html", "doctrees"]\n'
    (tmp_path / "conf.py").write_text(theme)
    page = f'Title\n=====\n\n.. raw:: html\n\n   <a href="{link}">a link Sphinx does not see</a>\n'
    (tmp_path / "index.rst").write_text(page)
    assert build.build_book(tmp_path) is built
    assert (link in capfd.readouterr().err) is not built
