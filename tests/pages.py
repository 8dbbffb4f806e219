"""The pages of documentation as tests read them: their blocks, their inline code, their links."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[1]
PATTERNS = (
    "*.md",
    "hub/*.md",
    "keys/*.md",
    "schemas/*.md",
    "connectors/*/*.md",
    "docs/*.md",
    "docs/decisions/*.md",
    "docs/messages/*.md",
)
PROGRAMS = ("hub", "hub-partner", "make")

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the word behind it (`run`, `serve`, `file=NAME`, or ""), and what it holds."""

    language: str
    mark: str
    text: str

    def lines(self) -> list[str]:
        """Its lines, a line that ends with a backslash joined with the next."""
        return [line.strip() for line in self.text.replace("\\\n", " ").splitlines() if line.strip()]


@dataclass(frozen=True)
class Page:
    """One page."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(TOP))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """The page without its fenced and indented blocks."""
        return re.sub(r"^ {4}\S.*$", "", _FENCE.sub("", self.text), flags=re.MULTILINE)

    def blocks(self) -> Iterator[Block]:
        for found in _FENCE.finditer(self.text):
            language, _, mark = found["info"].strip().partition(" ")
            yield Block(language, mark, textwrap.dedent(found["text"]))

    def spans(self) -> list[str]:
        """Its inline code."""
        return _SPAN.findall(self.prose)

    def links(self) -> list[str]:
        return _LINK.findall(_SPAN.sub("", self.prose))

    def anchors(self) -> set[str]:
        """What its headings can be linked by."""
        plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(self.prose))
        return {heading.strip().replace(" ", "-") for heading in plain}

    def commands(self) -> list[str]:
        """The lines of its blocks that call one of our programs."""
        fenced = [line for block in self.blocks() if block.language in {"", "sh"} for line in block.lines()]
        indented = re.findall(r"^ {4,}(\S.*(?:\\\n.*)*)$", _FENCE.sub("", self.text), re.MULTILINE)
        lines = [*fenced, *(line.replace("\\\n", " ") for line in indented)]
        return [line for line in lines if line.split()[0] in PROGRAMS]


def all_pages() -> list[Page]:
    """Every page but those of the tests."""
    return [Page(path) for pattern in PATTERNS for path in sorted(TOP.glob(pattern))]
