"""HTML: what a person would see of it, and where its links lead."""

from __future__ import annotations

from daimon_mcp.extraction.formats.text import decode, reject_binary
from daimon_mcp.extraction.sink import Sink
from daimon_mcp.mail.html_render import render_html

_MAX_SOURCE = 2_000_000


def read(content: bytes, sink: Sink, charset: str | None) -> None:
    """Write the visible text with `[n]` after each link, then the links by number."""
    source = decode(content, charset)
    reject_binary(source)
    if len(source) > _MAX_SOURCE:
        sink.truncated = True
    view = render_html(source[:_MAX_SOURCE])
    if view.hidden_chars:
        sink.facts["hidden_chars"] = view.hidden_chars
    sink.line(view.text(numbered=True))
    numbers: dict[str, int] = {}
    for anchor in view.anchors:
        if anchor.url not in numbers:
            numbers[anchor.url] = len(numbers) + 1
            if anchor.visible and anchor.label != anchor.url:
                sink.line(f"[{numbers[anchor.url]}] {anchor.url}")
