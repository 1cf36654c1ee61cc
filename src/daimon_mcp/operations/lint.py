"""What a careful colleague would ask before sending: findings, never a refusal."""

from __future__ import annotations

import re

_PLACEHOLDER = re.compile(r"\{\{[^{}\n]{0,60}\}\}|\[(?:NAME|DATE|COMPANY|INSERT[^\]\n]{0,40})\]")
_PROMISED_FILE = re.compile(r"\b(?:attached|attachment|enclosed|find attached)\b", re.IGNORECASE)


def lint(subject: str, text: str, has_attachments: bool) -> list[dict[str, str]]:
    """Findings as `{"code"}`: unfilled placeholders, a promised file that is missing. Secrets are the guard's."""
    found: list[dict[str, str]] = []
    if _PLACEHOLDER.search(subject) or _PLACEHOLDER.search(text):
        found.append({"code": "UNFILLED_PLACEHOLDER"})
    if not has_attachments and _PROMISED_FILE.search(text):
        found.append({"code": "MISSING_ATTACHMENT"})
    if not subject.strip():
        found.append({"code": "EMPTY_SUBJECT"})
    return found
