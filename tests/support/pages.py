"""HTML pages as tests read them."""

from __future__ import annotations

from html.parser import HTMLParser

_INLINE = {"bdi", "code", "em", "span", "strong"}
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source"}


class Page(HTMLParser):
    """A page taken apart: every start tag, all text, tables cell by cell.

    Raises AssertionError where a tag is not closed in its turn.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self._cell: list[str] | None = None
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        """Rows of cells of every table."""
        self._words: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    @property
    def text(self) -> str:
        """What a reader sees, with single spaces, style sheets left out."""
        return " ".join("".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _INLINE:
            self.handle_data(" ")
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        opened = self._open.pop()
        assert opened == tag, f"<{opened}> is closed by </{tag}>, {self.getpos()}"
        if tag in ("td", "th"):
            assert self._cell is not None
            self.tables[-1][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self._words.append(data)
        if self._cell is not None:
            self._cell.append(data)
