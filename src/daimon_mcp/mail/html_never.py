"""Elements whose text no mail program shows."""

from __future__ import annotations

from typing import Final

# What is in these may be meant to be read by somebody else than the person: it is reported.
NEVER_SEEN: Final = frozenset(
    {"template", "noscript", "datalist", "svg", "math", "object", "embed", "iframe", "audio", "video", "canvas", "map"}
    | {"select", "textarea", "input", "progress", "meter", "noframes", "noembed", "frame", "frameset", "rp", "applet"}
)
NO_TEXT: Final = frozenset(
    {"script", "style", "head", "title", "meta", "link", "base", "col", "colgroup", "param", "source", "track", "area"}
)
