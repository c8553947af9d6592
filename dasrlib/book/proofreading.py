"""Finds mistakes in a built book: broken links, pictures without alt text, headings out of order.

Sphinx checks the links that it makes itself; this reads the html, so that it also finds those in
widgets and raw html. Links inside the book are followed to the file and the anchor. Other sites are
not asked: their addresses must only be complete, and https.
"""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

# The attribute with the link, by element.
LINKS = {"a": "href", "area": "href", "link": "href", "img": "src", "script": "src",
         "source": "src", "iframe": "src", "video": "src", "object": "data"}  # fmt: skip
NOT_FOLLOWED = ("data:", "mailto:", "javascript:")
HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?", re.IGNORECASE)
FILE_NAME = re.compile(r"\S+\.(png|jpe?g|svg|gif|webp)", re.IGNORECASE)  # Sphinx's default alt text


class Page(HTMLParser):
    """The links, anchors, pictures (source, alt text) and heading levels of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.pictures: list[tuple[str, str]] = []
        self.headings: list[int] = []
        self.language: str | None = None
        self.has_article = self.in_article = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """HTMLParser's call for each element."""
        found = dict(attrs)
        self.anchors.update(found[key] or "" for key in ("id", "name") if key in found)
        target = found.get(LINKS.get(tag, ""))
        if target is not None:
            self.links.append(target)
        if tag == "img":
            self.pictures.append((target or "", (found.get("alt") or "").strip()))
        elif tag == "html":
            self.language = found.get("lang")
        elif tag == "article":
            self.has_article = self.in_article = True
        # The theme has headings outside the article, such as a title for print only.
        elif self.in_article and re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        """HTMLParser's call for the end of each element."""
        self.in_article = self.in_article and tag != "article"


page_of = cache(Page)


def broken(link: str, page: Path, book: Path) -> str | None:
    """What is wrong with a link on a page of the book; None if nothing is."""
    if link.startswith(NOT_FOLLOWED):
        return None
    try:
        parts = urlsplit(link)
    except ValueError as error:
        return f"is not an address: {error}"
    if parts.scheme or parts.netloc:
        complete = parts.scheme == "https" and HOST.fullmatch(parts.netloc)
        return (
            None if complete and not re.search(r"\s", link) else "is not a complete https address"
        )
    if parts.path.startswith("/"):
        return "starts at the root of a site: it breaks when the book is opened from a folder"
    file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not file.is_relative_to(book.resolve()):
        return "leads out of the book"
    if not file.is_file():
        return "leads to a file that does not exist"
    anchor = unquote(parts.fragment)
    if anchor and file.suffix == ".html" and anchor not in page_of(file).anchors:
        return "leads to an anchor that is not on that page"
    return None


def _mistakes(path: Path, book: Path) -> list[str]:
    page = page_of(path)
    reasons = {link: broken(link, path, book) for link in page.links}
    mistakes = [f"the link {link!r} {reason}" for link, reason in reasons.items() if reason]
    for picture, alt in page.pictures:
        if not alt or FILE_NAME.fullmatch(alt):
            mistakes.append(f"the picture {picture!r} has no alt text")
    if not page.language:
        mistakes.append("the page has no language: give its html element a lang")
    if page.has_article and page.headings.count(1) != 1:
        mistakes.append(f"the page has {page.headings.count(1)} headings of level 1, expected one")
    for above, below in pairwise(page.headings):
        if below > above + 1:
            mistakes.append(f"a heading of level {below} follows one of level {above}")
    return mistakes


def proofread(book: Path) -> list[str]:
    """Every mistake in the html files of a folder, each a sentence that begins with the page."""
    page_of.cache_clear()
    # The theme keeps templates in _static that no reader sees.
    pages = sorted(file for file in book.rglob("*.html") if "_static" not in file.parts)
    return [
        f"{page.relative_to(book).as_posix()}: {mistake}"
        for page in pages
        for mistake in _mistakes(page.resolve(), book)
    ]
