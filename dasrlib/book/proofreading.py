"""Reads a built book as a reader's browser would: links that lead nowhere, pictures that say
nothing to those who do not see them, headings out of order.

Links inside the book are followed, to the file and to the place in it. Addresses of other sites are
not fetched, only read: they have to be whole, and https.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What leads from a page to something else, by element.
LINKS = {"a": "href", "area": "href", "link": "href", "img": "src", "script": "src",
         "source": "src", "iframe": "src", "video": "src", "object": "data"}  # fmt: skip
ELSEWHERE = ("data:", "mailto:", "javascript:")
HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?", re.IGNORECASE)
# Sphinx calls a picture by its file where nobody else does.
FILE_NAME = re.compile(r"\S+\.(png|jpe?g|svg|gif|webp)", re.IGNORECASE)


@dataclass
class Page(HTMLParser):
    """What of a page matters here: where it leads, the places in it, its pictures and headings."""

    links: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)
    pictures: list[tuple[str, str | None]] = field(default_factory=list)
    headings: list[int] = field(default_factory=list)
    language: str | None = None
    has_article: bool = False
    in_article: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes what an element says."""
        found = dict(attrs)
        self.places.update(found[key] or "" for key in ("id", "name") if key in found)
        target = found.get(LINKS.get(tag, ""))
        if target is not None:
            self.links.append(target)
        if tag == "img":
            self.pictures.append((target or "", found.get("alt")))
        if tag == "html":
            self.language = found.get("lang")
        if tag == "article":
            self.has_article = self.in_article = True
        # What the theme sets around the page, such as a title for print alone, does not count.
        if self.in_article and re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        """The article ends."""
        if tag == "article":
            self.in_article = False


@cache
def read(path: Path) -> Page:
    """The page in a file; each is parsed once."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def broken(link: str, page: Path, book: Path) -> str | None:
    """Why a link of a page leads nowhere, None if it leads somewhere."""
    if link.startswith(ELSEWHERE):
        return None
    try:
        parts = urlsplit(link)
    except ValueError as error:
        return f"is no address: {error}"
    if parts.scheme or parts.netloc:
        whole = parts.scheme == "https" and HOST.fullmatch(parts.netloc)
        return None if whole and not re.search(r"\s", link) else "is no whole https address"
    if parts.path.startswith("/"):
        return "starts at the root of a site: it breaks when the book is opened from a folder"
    file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not file.is_relative_to(book.resolve()):
        return "leads out of the book"
    if not file.is_file():
        return "leads to a file that is not there"
    place = unquote(parts.fragment)
    if place and file.suffix == ".html" and place not in read(file).places:
        return "leads to a place that is not on that page"
    return None


def _unordered(levels: list[int]) -> str | None:
    if levels.count(1) != 1:
        return f"has {levels.count(1)} headings of the first level, not one"
    for above, below in pairwise(levels):
        if below > above + 1:
            return f"has a heading of level {below} right under one of level {above}"
    return None


def proofread(book: Path) -> list[str]:
    """Every mistake in the html files of a folder, each a sentence that begins with the page."""
    read.cache_clear()
    mistakes = []
    # Of Sphinx's own making, and never shown: the pieces of pages that the theme keeps.
    for path in sorted(file for file in book.rglob("*.html") if "_static" not in file.parts):
        path, name = path.resolve(), path.relative_to(book).as_posix()
        page = read(path)
        for link in dict.fromkeys(page.links):
            reason = broken(link, path, book)
            if reason:
                mistakes.append(f"{name}: the link {link!r} {reason}")
        for picture, text in page.pictures:
            if not text or FILE_NAME.fullmatch(text.strip()):
                mistakes.append(
                    f"{name}: the picture {picture!r} has no text that says what it shows"
                )
        if not page.language:
            mistakes.append(f"{name}: does not say its language")
        disorder = _unordered(page.headings)
        if page.has_article and disorder:
            mistakes.append(f"{name}: {disorder}")
    return mistakes
