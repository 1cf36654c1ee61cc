"""What the reading rules find in a message, as facts for JSON: new words, codes, links, what was hidden."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from daimon_mcp.mail.action_links import MOST_LINKS, find_links
from daimon_mcp.mail.bounces import Bounce
from daimon_mcp.mail.codes import find_codes
from daimon_mcp.mail.html_view import Line
from daimon_mcp.mail.invites import Invite
from daimon_mcp.mail.replies import Reply, extract_reply
from daimon_mcp.mail.seen import Seen

_MOST_SAMPLES = 3
_SAMPLE = 160
_SUSPICIOUS = 40  # characters that nobody sees, beside the usual preheader
_MOST_FAILURES = 50
_BARE = re.compile(r"[\s>]+")


@dataclass(frozen=True, slots=True)
class Findings:
    """What is stored and shown of a message beside its text.

    `reply_text` are the new words, all of the text where nothing was cut. `quotes` says that earlier mail was cut.
    `links` are `find_links`' with `n`, the number that stands after the anchor in the text. `text_only_plain` among
    the facts says that words of the text are in no form that people see: they give no code and no link to follow.
    """

    reply_text: str
    quotes: bool
    links: tuple[dict[str, Any], ...]
    facts: dict[str, Any]


def find(
    seen: Seen,
    *,
    subject: str,
    from_domain: str,
    is_reply: bool,
    bulk: bool,
    header_code: str | None,
    invite: Invite | None,
    bounce: Bounce | None,
) -> Findings:
    """Apply every rule. Never raises."""
    reply = extract_reply(seen.lines, is_reply=is_reply, bulk=bulk)
    cut = bool(reply.body and _BARE.sub("", reply.quoted))  # a mail that only quotes is read whole
    facts: dict[str, Any] = {"quotes": cut}
    if cut or reply.signature or reply.rule != "none":
        facts |= {"rule": reply.rule, "confidence": round(reply.confidence, 2)}
    if cut:
        facts["quoted_chars"] = len(reply.quoted)
    if reply.signature:
        facts["signature"] = reply.signature
    if reply.forwarded is not None:
        forwarded = reply.forwarded
        facts["forwarded"] = {"from": forwarded.from_, "date": forwarded.date, "subject": forwarded.subject}
    codes = find_codes(subject, _seen_lines(seen), from_domain=from_domain, header_code=header_code)
    if codes:
        facts["codes"] = [
            {name: value for name, value in asdict(code).items() if value is not None} | {"score": round(code.score, 1)}
            for code in codes
        ]
    if seen.hidden_chars:
        facts["hidden_text"] = _hidden(seen)
    for name, value in (("images", seen.images), ("trackers", seen.trackers), ("alt_mismatch", seen.alt_mismatch)):
        if value:
            facts[name] = value
    if seen.unseen:
        facts["text_only_plain"] = True
    if invite is not None:
        facts["invite"] = {name: value for name, value in asdict(invite).items() if value not in (None, "", ())}
    if bounce is not None:
        facts["bounce"] = {
            "original_message_id": bounce.original_message_id,
            **({"complaint": bounce.complaint} if bounce.complaint else {}),
            "failures": [
                {name: value for name, value in asdict(each).items() if value or name != "original_recipient"}
                for each in bounce.failures[:_MOST_FAILURES]
            ],
        }
    return Findings(
        reply_text=_new_words(seen, reply, cut=cut),
        quotes=cut,
        links=_links(seen, subject, from_domain),
        facts=facts,
    )


def _new_words(seen: Seen, reply: Reply, *, cut: bool) -> str:
    if not cut and not reply.signature:
        return seen.text
    return reply.body or seen.text


_NO_LINE = Line("")


def _seen_lines(seen: Seen) -> tuple[Line, ...]:
    """The lines without the words that only the text/plain part has; their places stay."""
    if not seen.unseen:
        return seen.lines
    return tuple(_NO_LINE if index in seen.unseen else line for index, line in enumerate(seen.lines))


def _hidden(seen: Seen) -> dict[str, Any]:
    """How much was hidden and what it began with; a preheader is usual, more than that is worth a look."""
    odd = [each for each in seen.hidden if not each.preheader]
    return {
        "chars": seen.hidden_chars,
        "count": len(seen.hidden),
        "suspicious": sum(len(each.text) for each in odd) > _SUSPICIOUS,
        "samples": [
            {"how": each.how, "text": each.text[:_SAMPLE]} for each in (odd or list(seen.hidden))[:_MOST_SAMPLES]
        ],
    }


def _links(seen: Seen, subject: str, from_domain: str) -> tuple[dict[str, Any], ...]:
    numbers: dict[str, int] = {}
    for anchor in seen.anchors or ():
        numbers.setdefault(anchor.url, len(numbers) + 1)
    links = find_links(subject, _seen_lines(seen), seen.anchors, from_domain=from_domain)
    if seen.unseen:
        # What nobody sees asks for nothing.
        known = {link.url for link in links}
        only_plain = tuple(line for index, line in enumerate(seen.lines) if index in seen.unseen)
        links += tuple(
            replace(link, is_cta=False)
            for link in find_links(subject, only_plain, None, from_domain=from_domain)
            if link.url not in known
        )[: MOST_LINKS - len(links)]
    return tuple(
        {
            "n": numbers.get(link.url),
            "url": link.url,
            "text": link.text,
            "is_cta": link.is_cta,
            "kind": link.kind,
            "host": link.host,
            "same_site": link.same_site,
            "mismatch": link.mismatch,
            "score": round(link.score, 1),
        }
        for link in links
    )
