"""An HTML page as a test reads it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Tables by caption (lists of rows of cells), figures by id, all text, and what was left open.

    Text of scripts and styles is not in `text`.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.figures: dict[str, list[dict[str, Any]]] = {}
        self.attributes: list[tuple[str, str, str | None]] = []
        self.marked: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self._caption = ""
        self._rows: list[list[str]] = []
        self._figure = ""
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag in VOID:
            return
        self._open.append(tag)
        if tag == "table":
            self._caption, self._rows = "", []
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")
        if tag == "figure":
            self._figure = dict(attrs)["id"] or ""
        if tag == "script" and dict(attrs).get("type") == "application/json":
            self.figures[self._figure] = []

    def handle_endtag(self, tag: str) -> None:
        assert self._open, tag
        assert self._open.pop() == tag, tag
        if tag == "table":
            assert self._caption not in self.tables or "election" in self._caption
            self.tables.setdefault(self._caption, self._rows)

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "script" and self.figures.get(self._figure) == []:
            self.figures[self._figure] = json.loads(data)
        if inside in ("script", "style"):
            return
        self.text += data
        if "caption" in self._open:
            self._caption += data
        if "td" in self._open or "th" in self._open:
            self._rows[-1][-1] += data.strip()
        if inside in ("strong", "u"):
            self.marked.append((inside, data))
