"""What a reply or forward takes from its original: References (RFC 5322 §3.6.4) and the quote, as clients write it."""

from __future__ import annotations

import html as markup
from collections.abc import Sequence

from daimon_mcp.domain.clock import to_datetime
from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.sanitize import clean_line, clean_text

MAX_REFERENCES = 20


def reply_references(
    parent_message_id: str, parent_references: Sequence[str], parent_in_reply_to: str | None
) -> tuple[str, ...]:
    """The References of a reply: the parent's, or its In-Reply-To, then the parent's id.

    At most MAX_REFERENCES: the first one, which names the thread, and the latest.
    """
    before = list(parent_references) or ([parent_in_reply_to] if parent_in_reply_to else [])
    ids = [*dict.fromkeys(each for each in before if each != parent_message_id), parent_message_id]
    return tuple(ids if len(ids) <= MAX_REFERENCES else [ids[0], *ids[1 - MAX_REFERENCES :]])


def _when(date: int) -> str:
    return to_datetime(date).strftime("%Y-%m-%d %H:%M UTC")


def _plain(who: Address) -> str:
    name, email = clean_line(who.name), clean_line(who.email)
    return f"{name} <{email}>" if name else email


def _people(found: Sequence[Address]) -> str:
    return ", ".join(_plain(each) for each in found)


def _attribution(who: Address, date: int) -> str:
    return f"On {_when(date)}, {_plain(who)} wrote:"


def quote_for_reply(text: str, who: Address, date: int) -> str:
    """`On 2026-11-21 09:00 UTC, Ann <a@x.org> wrote:` and every line of `text` after `> `; `date` in epoch µs."""
    lines = clean_text(text).strip("\n").split("\n")
    quoted = [f">{line}" if line.startswith(">") else f"> {line}".rstrip() for line in lines]
    return "\n".join([_attribution(who, date), *quoted])


def quote_html_for_reply(html: str, text: str, who: Address, date: int) -> str:
    """`html`, the new words, with `text` of the original escaped in a block quote below."""
    words = markup.escape(clean_text(text).strip("\n")).replace("\n", "<br>\n")
    return f'{html}\n<p>{markup.escape(_attribution(who, date))}</p>\n<blockquote type="cite">{words}</blockquote>\n'


def quote_for_forward(
    *, from_: Address | None, to: Sequence[Address], cc: Sequence[Address], date: int, subject: str, text: str
) -> str:
    """The block clients put above a forwarded mail, then its text unquoted; `date` in epoch µs."""
    lines = ["---------- Forwarded message ----------"]
    if from_ is not None and (from_.email or from_.name):
        lines.append(f"From: {_plain(from_)}")
    lines += [f"Date: {_when(date)}", f"Subject: {clean_line(subject)}"]
    if to:
        lines.append(f"To: {_people(to)}")
    if cc:
        lines.append(f"Cc: {_people(cc)}")
    return "\n".join([*lines, "", clean_text(text).strip("\n")])
