"""HTML to the text a person would see. Own tokenizer: linear in the input whatever it holds, never raises.

The standard library's html.parser looks for the end of an unfinished tag or comment again and again, which takes
quadratic time on a hostile body.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from daimon_mcp.mail.sanitize import clean_line, clean_text

MAX_LINKS = 500
MAX_URL = 4096

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]{0,60}+)")
_ATTRIBUTE = re.compile(r"[\s/]*+([^\s/>=][^\s/>=]*+)(?:\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\s>]*+)))?")
_TAG_END = re.compile(r"[^>]*+>?")
_SPACES = re.compile(r"\s+")
_RAW = frozenset({"script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes"})
_DROPPED = frozenset(
    {"head", "template", "svg", "math", "object", "select", "datalist", "dialog", "audio", "video", "canvas"}
)
_HEAD = frozenset({"base", "link", "meta", "noscript", "script", "style", "template", "title"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "dt"}
    | {"fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html"}
    | {"legend", "li", "main", "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "tr"}
    | {"ul"}
)
_SPACED = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "pre", "hr"})
_CLOSED_BY_SAME = frozenset({"p", "li", "tr", "td", "th", "dd", "dt", "option"})
_ZERO = re.compile(r"0+(?:\.0*)?(?:px|pt|em|rem|%|ex)?\Z")
_WEB = re.compile(r"(?:https?|ftp)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Link:
    """An anchor as a person sees it."""

    url: str
    text: str


@dataclass(frozen=True, slots=True)
class _Start:
    name: str
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class _End:
    name: str


def html_to_text(source: str) -> tuple[str, list[Link]]:
    """The visible text of `source` and its links in order (at most MAX_LINKS).

    Hidden elements (hidden, display:none, visibility:hidden, font-size:0), scripts, styles, comments and images are
    dropped; blocks and rows become lines; quotes get `> `; a link becomes `text (url)`.
    """
    renderer = _Renderer()
    for token in _tokens(source):
        if isinstance(token, str):
            renderer.text(token)
        elif isinstance(token, _Start):
            renderer.start(token.name, token.attributes)
        else:
            renderer.end(token.name)
    return renderer.finish()


def _tokens(source: str) -> Iterator[str | _Start | _End]:
    position, size = 0, len(source)
    while position < size:
        opening = source.find("<", position)
        if opening < 0:
            yield html.unescape(source[position:])
            return
        if opening > position:
            yield html.unescape(source[position:opening])
        if source.startswith("<!--", opening):
            end = source.find("-->", opening + 2)
            position = size if end < 0 else end + 3
            continue
        tag = _TAG.match(source, opening)
        if tag is None:
            if source.startswith(("<!", "<?", "</"), opening):
                end = source.find(">", opening)
                position = size if end < 0 else end + 1
            else:
                yield "<"
                position = opening + 1
            continue
        name = tag[2].lower()
        attributes: dict[str, str] = {}
        position = tag.end()
        while attribute := _ATTRIBUTE.match(source, position):
            position = attribute.end()
            if len(attributes) < 100:
                value = attribute[2] or attribute[3] or attribute[4] or ""
                attributes.setdefault(attribute[1].lower(), html.unescape(value[: 2 * MAX_URL]))
        end = _TAG_END.match(source, position)
        position = end.end() if end else size
        if tag[1]:
            yield _End(name)
            continue
        yield _Start(name, attributes)
        if name in _RAW:
            closing = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(source, position)
            position = closing.start() if closing else size
            yield _End(name)


def _hidden(name: str, attributes: dict[str, str]) -> bool:
    if name in _RAW or name in _DROPPED or "hidden" in attributes:
        return True
    style = attributes.get("style")
    if not style:
        return False
    for declaration in style.lower().split(";")[:100]:
        key, _, value = declaration.partition(":")
        key, value = key.strip(), value.replace("!important", "").strip()
        if (
            (key == "display" and value == "none")
            or (key == "visibility" and value in {"hidden", "collapse"})
            or (key == "font-size" and _ZERO.match(value))
            or (key == "opacity" and _ZERO.match(value))
            or (key == "mso-hide" and value == "all")
        ):
            return True
    return False


class _Renderer:
    """The elements that are open, and the lines so far."""

    def __init__(self) -> None:
        self._open: list[tuple[str, bool]] = []  # name, whether this element hides what is in it
        self._counts: Counter[str] = Counter()
        self._hidden = 0
        self._lines: list[str] = []
        self._line: list[str] = []
        self._depth = 0  # of quotes around the last line
        self._gap = False  # a blank line is wanted before the next line
        self._links: list[Link] = []
        self._anchor: tuple[str, list[str]] | None = None

    def text(self, text: str) -> None:
        if self._hidden:
            return
        if self._counts["pre"]:
            first_line, *others = text.split("\n")
            self._put(first_line)
            for line in others:
                self._break()
                self._put(line)
        else:
            self._put(_SPACES.sub(" ", text))

    def _put(self, text: str) -> None:
        if not text or (text == " " and not self._line):
            return
        self._line.append(text)
        if self._anchor is not None:
            self._anchor[1].append(text)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "br":
            if not self._hidden:
                self._break(keep_blank=True)
            return
        if self._counts["head"] and name not in _HEAD:
            self.end("head")  # its end tag may be left out
        if self._open and self._open[-1][0] == name and name in _CLOSED_BY_SAME:
            self.end(name)
        elif self._open and self._open[-1][0] == "p" and name in _BLOCKS:
            self.end("p")
        if name in _VOID:
            if name == "hr":
                self._break(gap=True)
            return
        hides = _hidden(name, attributes)
        if name in _BLOCKS and not self._hidden and not hides:
            self._break(gap=name in _SPACED)
        self._open.append((name, hides))
        self._counts[name] += 1
        self._hidden += hides
        if self._hidden:
            return
        if name == "li":
            self._put("- ")
        elif name in {"td", "th"}:
            self._put(" ")
        elif name == "a":
            self._close_anchor()
            url = _SPACES.sub("", attributes.get("href", "")) if len(attributes.get("href", "")) <= MAX_URL else ""
            if _WEB.match(url):
                self._anchor = (clean_line(url), [])

    def end(self, name: str) -> None:
        if name in {"p", "br"} and not self._counts[name]:
            if not self._hidden:
                self._break()
            return
        if not self._counts[name]:
            return
        while self._open:
            opened, hides = self._open.pop()
            self._counts[opened] -= 1
            if not self._hidden:
                if opened == "a":
                    self._close_anchor()
                if opened in _BLOCKS:
                    self._break(gap=opened in _SPACED, closing=opened)
            self._hidden -= hides
            if opened == name:
                return

    def _close_anchor(self) -> None:
        if self._anchor is None:
            return
        url, pieces = self._anchor
        self._anchor = None
        text = clean_line("".join(pieces))
        if len(self._links) < MAX_LINKS:
            self._links.append(Link(url, text))
        if not text:
            return  # an image: what it links to is in the list of links
        if text.rstrip("/") not in {url.rstrip("/"), url.partition("://")[2].rstrip("/")}:
            self._line.append(f" ({url})")

    def _break(self, *, gap: bool = False, keep_blank: bool = False, closing: str = "") -> None:
        text = "".join(self._line)
        self._line.clear()
        text = text.rstrip() if self._counts["pre"] or closing == "pre" else _SPACES.sub(" ", text).strip()
        depth = min(self._counts["blockquote"] + (closing == "blockquote"), 20)
        if text:
            if self._gap and self._lines:
                self._lines.append("> " * (min(depth, self._depth) - 1) + ">" if min(depth, self._depth) else "")
            self._gap = False
            self._depth = depth
            self._lines.append(f"{'> ' * depth}{text}")
        elif keep_blank and self._lines:
            self._gap = True
        if gap:
            self._gap = True

    def finish(self) -> tuple[str, list[Link]]:
        self._close_anchor()
        self._break()
        return clean_text("\n".join(self._lines)), self._links
