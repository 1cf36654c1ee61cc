"""What a careful colleague would ask before sending: findings, never a refusal."""

from __future__ import annotations

import re

_PLACEHOLDER = re.compile(r"\{\{[^{}\n]{0,60}\}\}|\[(?:NAME|DATE|COMPANY|INSERT[^\]\n]{0,40})\]")
_PROMISED_FILE = re.compile(r"\b(?:attached|attachment|enclosed|find attached)\b", re.IGNORECASE)
_SECRETS = (
    ("private_key", re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")),
    ("api_key", re.compile(r"\b(?:dm_(?:free|live)_[a-z0-9]{16,}|sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16})\b")),
    ("password", re.compile(r"\b(?:smtp|imap)_secret_[a-z0-9]{16,}\b")),
)


def lint(subject: str, text: str, has_attachments: bool) -> list[dict[str, str]]:
    """Findings as `{"code"}`: unfilled placeholders, a promised file that is missing, secrets in the body."""
    found: list[dict[str, str]] = []
    if _PLACEHOLDER.search(subject) or _PLACEHOLDER.search(text):
        found.append({"code": "UNFILLED_PLACEHOLDER"})
    if not has_attachments and _PROMISED_FILE.search(text):
        found.append({"code": "MISSING_ATTACHMENT"})
    found += [{"code": "SECRET_IN_BODY", "kind": kind} for kind, pattern in _SECRETS if pattern.search(text)]
    if not subject.strip():
        found.append({"code": "EMPTY_SUBJECT"})
    return found
