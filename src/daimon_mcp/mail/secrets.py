"""Which secrets stand in a text: by kind, never what they are. Pure.

Tokens of services and private keys are known by the rules of detect-secrets (Yelp); what this server itself hands out
and card numbers by ours. The rules that guess by entropy or by words like `password` are not used: they are for source
code, and would hold ordinary mail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from detect_secrets.plugins.base import BasePlugin

_RULES: Final = (
    "artifactory", "aws", "azure_storage_key", "basic_auth", "cloudant", "discord", "github_token", "gitlab_token",
    "jwt", "mailchimp", "npm", "openai", "private_key", "pypi_token", "sendgrid",
    "slack", "softlayer", "square_oauth", "stripe", "telegram_token", "twilio",
)  # fmt: skip
# Some of those rules take time that grows with the square of a line: they get no longer piece of one than this.
_PIECE: Final = 2000
_OVERLAP: Final = 500  # what two pieces of a longer line have in common
_URL: Final = re.compile(r"https?://[^\s<>\"']+", re.IGNORECASE)
_JWT: Final = "json_web_token"

_OURS: Final = (
    ("daimon_api_key", re.compile(r"\bdm_(?:free|live|account)_[a-z2-7]{16,}")),
    ("daimon_password", re.compile(r"\b(?:smtp|imap)_secret_[a-z2-7]{16,}")),
    ("webhook_secret", re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]{16,}")),
)
_CARD: Final = re.compile(r"(?<![\w.,/+=-])(?:\d[ -]?){12,18}\d(?![\w/+=]|[.,-]\d)")
_ISSUERS: Final = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|6(?:011|4[4-9]\d|5\d\d)\d{12}"
)


@cache
def _plugins() -> tuple[tuple[str, BasePlugin], ...]:
    """The rules, each with our name for what it finds. The first call takes a fifth of a second."""
    from detect_secrets.plugins.base import BasePlugin

    found: list[tuple[str, BasePlugin]] = []
    for name in _RULES:
        module = import_module(f"detect_secrets.plugins.{name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BasePlugin) and value.__module__ == module.__name__:
                plugin = value()
                found.append((re.sub(r"\W+", "_", plugin.secret_type.lower()).strip("_"), plugin))
    return tuple(found)


def kinds_in(text: str) -> tuple[str, ...]:
    """The kinds of secrets in a text, each once, in the order they were looked for."""
    return tuple(dict.fromkeys(_found(text)))


def _found(text: str) -> Iterator[str]:
    for kind, pattern in _OURS:
        if pattern.search(text):
            yield kind
    if any(_is_card(match[0]) for match in _CARD.finditer(text)):
        yield "card_number"
    for piece in _pieces(text):
        for kind, plugin in _plugins():
            # A signed token inside a link is how people are let in: the link is what is to be sent.
            looked_at = _URL.sub(" ", piece) if kind == _JWT else piece
            if any(plugin.analyze_string(looked_at)):
                yield kind


def _pieces(text: str) -> Iterator[str]:
    """A text in whole lines together no longer than a piece; of a longer line, pieces that overlap."""
    gathered = ""
    for line in text.splitlines():
        if len(gathered) + len(line) < _PIECE:
            gathered += line + "\n"
            continue
        if gathered:
            yield gathered
        gathered = ""
        if len(line) < _PIECE:
            gathered = line + "\n"
            continue
        for start in range(0, len(line), _PIECE - _OVERLAP):
            yield line[start : start + _PIECE]
    if gathered:
        yield gathered


def _is_card(text: str) -> bool:
    """Whether digits are a card number: of a known issuer's length and beginning (ISO/IEC 7812), Luhn's sum right."""
    digits = re.sub(r"\D", "", text)
    if not _ISSUERS.fullmatch(digits) or len(set(digits)) < 2:
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0
