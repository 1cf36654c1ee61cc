"""Lines that divide a mail from what it quotes or forwards, and the first words of a bounce."""

from __future__ import annotations

import re
from collections.abc import Sequence

from daimon_mcp.mail.replies.header_block import find_header_block, label_of
from daimon_mcp.mail.replies.rows import COLONS, Row
from daimon_mcp.mail.replies.words import FORWARD, MESSAGE

_DASHES = "-–—_=* "
_RUN = re.compile(r"[-–—_=*]{2}")
_ABOVE_LINE = re.compile(
    r"(?:reply|respond|write|type (?:your )?(?:reply|response))[\w ]{0,20} above (?:this|the) line"
    r"|antwort[\w ]{0,20} (?:über|oberhalb) dieser (?:zeile|linie)|répond\w{0,6} au-dessus de cette ligne"
    r"|respond\w{0,6} (?:por )?encima de esta línea|responda acima desta linha"
    r"|rispond\w{0,6} sopra questa (?:riga|linea)"
    r"|reageer boven deze (?:regel|lijn)",
    re.IGNORECASE,
)
_BOUNCE = re.compile(
    r"rejected your message|delivery (?:has failed|to the following"
    r"|status notification)|undeliverable|mail delivery failed"
    r"|(?:could ?n[o'’]t|could not|cannot|can't|was ?n[o'’]t|was not"
    r"|not) (?:be )?delivered|this is the mail system at host"
    r"|unable to deliver|address not found|failure notice|returned to sender"
    r"|message blocked|recipient address rejected"
    r"|konnte nicht zugestellt|nicht zustellbar|n'a pas pu être (?:remis|distribué"
    r"|envoyé)|no se (?:ha podido|pudo) entregar"
    r"|não (?:foi|pôde ser) (?:possível )?entreg|impossibile (?:recapitare"
    r"|consegnare)|kon niet worden (?:afgeleverd|bezorgd)"
    r"|не удалось доставить|не может быть доставлено|无法投递|未能送达|退信|配信できません|配信不能",
    re.IGNORECASE,
)
_MACHINE = re.compile(r"(?:final-recipient|diagnostic-code|reporting-mta|status) ?:", re.IGNORECASE)


def _between_dashes(text: str) -> tuple[str, str]:
    """The words between two runs of dashes at the start of a line, and what follows them; "" when there are none."""
    bare = text.lstrip(_DASHES)
    end = _RUN.search(bare)
    if end is None or not _RUN.match(text) or end.start() > 62:
        return "", ""
    return bare[: end.start()].strip(), bare[end.end() :].lstrip(_DASHES)


def is_above_line(text: str) -> bool:
    """Whether a ticket system asks in it to reply above."""
    return len(text) <= 160 and _ABOVE_LINE.search(text) is not None


def find_original_divider(rows: Sequence[Row], at: int) -> bool:
    """Whether row `at` says `-----Original Message-----` in some language, or dashes around words above a header."""
    phrase, rest = _between_dashes(rows[at].text)
    if not phrase or FORWARD.search(phrase) or (rest and label_of(rest) is None):
        return False
    words = len(phrase.split())
    if words <= 3 and MESSAGE.search(phrase):
        return True
    if words <= 6 and at + 1 < len(rows):
        return find_header_block(rows, at + 1, divided=True) is not None
    return False


def is_forward_divider(rows: Sequence[Row], at: int) -> bool:
    """Whether row `at` says that what follows was forwarded: between dashes, or with a colon above header lines."""
    text = rows[at].text
    if len(text) > 120 or FORWARD.search(text) is None:
        return False
    phrase, _ = _between_dashes(text)
    if FORWARD.search(phrase) and len(phrase.split()) <= 6:
        return True
    if text[-1] not in COLONS or len(text.split()) > 8:
        return False
    first, second = rows[at + 1 : at + 2], rows[at + 2 : at + 3]
    labels = [label for row in (*first, *second) if (label := label_of(row.text)) is not None and label[2]]
    return bool(labels)


def is_bounce(rows: Sequence[Row]) -> bool:
    """Whether it opens as mail systems do that could not deliver."""
    opening = rows[:3]
    if not any(not row.quoted and _BOUNCE.search(row.text) for row in opening):
        return False
    return any("@" in row.text or _MACHINE.match(row.text) for row in rows[:60] if not row.quoted)
