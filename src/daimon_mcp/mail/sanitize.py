"""What a stranger's text may contain once it has become a Python string: no controls, nothing invisible."""

from __future__ import annotations

import re

_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# C0 and C1 controls, zero-width and bidirectional controls, blank fillers, interlinear marks, tags and the
# supplementary variation selectors: all can carry words that no human sees.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
# A joiner is kept where a script or an emoji needs it: once, between two characters beyond Latin.
_JOINER = re.compile(
    "(?<![\u0250-\u1fff\u2190-\U0010ffff])[\u200c\u200d]|[\u200c\u200d](?![\u0250-\u1fff\u2190-\U0010ffff])"
)
_SELECTORS = re.compile("([\ufe00-\ufe0f])[\ufe00-\ufe0f]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_SPACES = re.compile(r"\s+")


def clean_text(text: str) -> str:
    """Text of many lines: line ends become `\\n`; controls, bidirectional and invisible characters go.

    Tab and newline stay. Lone surrogates become U+FFFD, so the result can always be encoded.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _LINE_ENDS.sub("\n", text)
    if not text.isascii():
        text = _SURROGATES.sub("\ufffd", text)
    text = _INVISIBLE.sub("", text)
    if not text.isascii():
        text = _SELECTORS.sub(r"\1", _JOINER.sub("", text))
    return text


def clean_line(text: str) -> str:
    """Text of one line, such as a subject or a name: `clean_text`, then every run of white space is one space."""
    return _SPACES.sub(" ", clean_text(text)).strip()
