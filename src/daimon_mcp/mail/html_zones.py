"""The markup that mail programs write around what is quoted and around signatures.

Names are those that the programs themselves put there; Outlook writes `x_` before the names in what it quotes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from daimon_mcp.mail.html_tree import is_element

if TYPE_CHECKING:
    from daimon_mcp.mail.html_tree import Element

_QUOTE_CLASSES: Final = frozenset(
    {"gmail_quote", "gmail_quote_container", "moz-cite-prefix", "moz-email-headers-table", "yahoo_quoted"}
    | {
        "protonmail_quote",
        "tutanota_quote",
        "zmail_extra",
        "ms-outlook-mobile-reference-message",
        "moz-forward-container",
    }
    | {"outlookmessageheader", "quoted-reply", "front-quote", "hey-quoted-reply", "crisp_quote"}
    | {"freshdesk_quote", "zd_quote", "gmx_quote", "mailbird-quote", "yahoo-quoted-begin", "mail-quote-collapse"}
    | {"rainloop_quote", "snappymail_quote", "skiff_quote", "replyforwardmessage", "mailmaster-quote", "kmail_quote"}
    | {"edo-original-email", "emailquote", "sh-quoted-content", "mcntquote", "intercom-quote", "aolmail_yahoo_quoted"}
)
_QUOTE_IDS: Final = frozenset(
    {"olk_src_body_section", "mail-editor-reference-message-container", "isreplycontent", "replysplit", "origbody"}
    | {"reply-intro", "quoted_header", "ms-outlook-ios-reference-message", "yahoo_quoted", "oriquote", "qt"}
)
_QUOTE_NAMES: Final = frozenset({"quote", "messagereplysection", "original_message", "quoted-content"})
# From these on, all that follows in the document is the message that is answered.
_REST_IDS: Final = frozenset({"divrplyfwdmsg", "appendonsend", "stopspelling", "olk_reply_header", "spark_reply"})
_SIGNATURE_CLASSES: Final = frozenset(
    {"gmail_signature", "gmail_signature_prefix", "moz-signature", "protonmail_signature_block", "io-ox-signature"}
    | {"tutanota_signature", "zmail_signature", "bloop_sign", "mb_sig", "front-signature", "skiff_signature"}
    | {"sh-signature", "mailmaster_signature", "x_gmail_signature", "kmail_signature", "rainloop_signature"}
)
_SIGNATURE_IDS: Final = frozenset(
    {"signature", "ms-outlook-mobile-signature", "applemailsignature", "composer_signature", "_rc_sig", "mailsignature"}
    | {
        "zmail_signature",
        "mail-app-auto-default-signature",
        "ms-outlook-signature",
        "spark_signature",
        "signature-block",
    }
)
_SIGNATURE_NAMES: Final = frozenset({"messagesignaturesection"})
_MARKERS: Final = {
    "__quoted_text__": "quote",
    "__headers__": "quote",
    "__divider__": "rest",
    "__sig_pre__": "signature",
}
_YAHOO: Final = re.compile(r"ydp[0-9a-z]{4,12}(signature|yahoo[_-]quoted)\Z")
_LABELLED: Final = re.compile(r"\*?[^\W\d_][^\n:：]{0,30}[:：]\s*\S?")
_ADDRESS_OR_YEAR: Final = re.compile(r"@|\b(?:19|20)\d\d\b")
_FORWARD: Final = re.compile(r"-{5,}|_{10,}|begin forwarded message", re.IGNORECASE)


def zone_of(element: Element) -> str:
    """`quote`, `signature`, `rest` (a quote with all that follows), or nothing."""
    attributes = element.attrib
    if not attributes:
        return ""
    found = ""
    classes = attributes.get("class")
    if classes:
        found = _by_class(classes.lower())
    identity = attributes.get("id")
    if identity and not found:
        identity = identity.lower().removeprefix("x_")
        if identity in _REST_IDS:
            return "rest"
        found = "quote" if identity in _QUOTE_IDS else "signature" if identity in _SIGNATURE_IDS else ""
    name = attributes.get("name")
    if name and not found:
        name = name.lower()
        found = "quote" if name in _QUOTE_NAMES else "signature" if name in _SIGNATURE_NAMES else ""
    if not found:
        found = _by_others(element)
    if found == "quote" and is_forward(element):
        return ""
    return found


def _by_class(classes: str) -> str:
    for each in classes.split()[:20]:
        each = each.removeprefix("x_")
        if each in _QUOTE_CLASSES:
            return "quote"
        if each in _SIGNATURE_CLASSES:
            return "signature"
        if (yahoo := _YAHOO.match(each)) is not None:
            return "signature" if yahoo[1] == "signature" else "quote"
    return ""


def _by_others(element: Element) -> str:
    if element.tag == "blockquote" and (element.get("type") or "").lower() == "cite":
        return "quote"
    if element.get("data-smartmail") == "gmail_signature":
        return "signature"
    marker = element.get("data-marker")
    if marker:
        return _MARKERS.get(marker.lower(), "")
    style = element.get("style")
    if style and "border-top" in style.lower() and element.tag in {"div", "p", "table", "td"} and is_header(element):
        return "rest"
    return "quote" if element.tag == "includetail" else ""


def _beginning(element: Element, size: int) -> str:
    """The first text in an element, with line ends where blocks and breaks are."""
    pieces: list[str] = []
    length = 0
    for count, inner in enumerate(element.iter()):
        if count > 80 or length > size:
            break
        if inner.tag in {"br", "p", "div", "tr"}:
            pieces.append("\n")
        for text in (inner.text if is_element(inner) else None, inner.tail if inner is not element else None):
            if text:
                pieces.append(" ".join(text[:size].split()) + " ")
                length += len(text)
    return "".join(pieces)[:size].strip()


def is_forward(element: Element) -> bool:
    """Whether the first words in it are the divider of a forwarded message."""
    return _FORWARD.match(_beginning(element, 100)) is not None


def is_header(element: Element) -> bool:
    """Whether it begins with three labelled lines at least, an address or a year among them (`From: …`, `Sent: …`)."""
    lines = [line.strip() for line in _beginning(element, 1500).split("\n") if line.strip()][:8]
    labelled = 0
    for line in lines:
        if not _LABELLED.match(line):
            break
        labelled += 1
    return labelled >= 3 and _ADDRESS_OR_YEAR.search(" ".join(lines[:labelled])) is not None


def is_indentation(element: Element) -> bool:
    """Whether a blockquote only moves its text to the right, as the indent buttons of mail programs do."""
    style = (element.get("style") or "").lower().replace(" ", "")
    return "border:none" in style or "border:0" in style or "border:medium" in style
