"""The links of a mail in order, each with what it is for, and which of them the mail wants followed.

A link is scored by its own text, by how it looks, by its URL and by the words around it: a sum of `WEIGHTS`.
Nothing is ever fetched: following a one-time link spends it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from daimon_mcp.mail.action_words import action_words, aside_words, revoke_words, unsubscribe_words
from daimon_mcp.mail.html_view import Anchor, Line
from daimon_mcp.mail.url_facts import UrlFacts, registrable_domain, shown_host, unicode_host, url_facts
from daimon_mcp.mail.url_hosts import split_web_url
from daimon_mcp.mail.word_match import lower_in_place

WEIGHTS = {
    # Its own text.
    "asks to verify, reset, log in, join or pay": 3.0,
    "asks to look at something": 2.0,
    "unsubscribe, privacy, help, social": -6.0,
    "asks to verify, reset, join or pay, alone on its line": 1.0,
    "shows another site than it leads to": -4.0,
    # How it looks.
    "button": 3.0,
    "image alone": -2.0,
    "cannot be seen": -6.0,
    "button without a text": -2.0,
    "among the last quarter of many": -1.0,
    # Its URL.
    "carries a secret": 2.0,
    "path names the action": 2.0,
    "path names the action, no secret": 0.5,
    "path or host of an aside": -5.0,
    "bare domain": -3.0,
    "same URL again, with a secret": 1.0,
    "no web page: mailto, tel, a URL without a host": -12.0,
    # The words around it.
    "action named above a link with a text of its own": 0.5,
    "URL as text: action named on its line": 2.5,
    "URL as text: action named above": 2.0,
    "URL as text: alone on its line": 1.5,
    "URL as text: in brackets after a short text": 1.0,
    "for those who did not ask": -4.0,
    "mass mail, only to be looked at": -1.0,
    "mass mail of many buttons, only to be looked at": -2.5,
}
"""What counts how much."""

ACCEPT = 4.0
WITHIN_OF_BEST = 2.5
MOST_LINKS = 500
MOST_ACTIONS = 3
"""More links than this that ask for something are a list to choose from: only those that carry a secret stay."""

_MOST_ANCHORS = 4_000
_MOST_REPEATS = 4
_MOST_URL = 8_000
_LABEL_CHARS = 160
_SHORT_LABEL = 48
_CONTEXT_CHARS = 240
_LINES_ABOVE = 3
_STRONG = frozenset({"verify", "reset", "login", "invite", "pay"})


@dataclass(frozen=True, slots=True)
class FoundLink:
    """One link. `url` is as in the mail, only HTML entities decoded; `text` is what stands for it.

    `kind` is one of verify, reset, login, invite, pay, view, unsubscribe, other. `is_cta` says that the mail asks for
    it to be followed; of several the highest `score` is the one. `host` and `domain` (the registrable part) are those
    of the URL itself: for a link that counts clicks they are the counter's. `same_site` says that `domain` is the one
    of the From address. `mismatch` says that the text shows another site than the URL leads to.
    """

    url: str
    text: str
    kind: str
    is_cta: bool
    score: float
    host: str
    domain: str
    same_site: bool
    mismatch: bool


_URL = re.compile(
    rf"[Hh][Tt][Tt][Pp][Ss]?://[^\s<>\"\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7af\uff00-\uff60]{{1,{_MOST_URL}}}"
)
_TAIL = ".,;:!?'*_»”’›|"
_PAIRS = {")": "(", "]": "[", "}": "{"}
_SENTENCE = re.compile(r"[.!?。！？)\]…]\s+")
_BRACKET = re.compile(r"[(\[<]\s?$")
_TEXT_BEFORE = re.compile(r"[\s(\[<:*>_→»–—-]+$")
_BULLET = re.compile(r"^[\s>*•·\-–—#|]+")

_PATH_TOKENS = re.compile(r"[/._=&?#+-]|%2[Ff]|(?<=[a-z])(?=[A-Z])")
_PATH_KINDS = {
    "verify": "verify verification verifyemail verified confirm confirmation confirmemail activate activation"
    " validate validation doi optin authorize approve register registration signup enroll unlock delete"
    " confirmdelete finalize complete acceptemail emailconfirm verifications confirmations double",
    "reset": "reset resetpassword recover recovery password passwords passwd forgot restore passwordreset newpassword",
    "login": "login signin sign-in magic magiclink magicsession magicurl session sessions sso logon passwordless"
    " callback auth otl onetime loginlink",
    "invite": "invite invites invitation invitations accept join membership invited acceptinvite",
    "pay": "pay payment payments checkout invoice invoices billing dunning upgrade renew subscribe",
}
_KIND_OF_TOKEN = {token: kind for kind, tokens in _PATH_KINDS.items() for token in tokens.split()}
_ASIDE_TOKENS = frozenset(
    [
        "unsubscribe",
        "unsub",
        "optout",
        "preferences",
        "preference",
        "privacy",
        "terms",
        "legal",
        "tos",
        "imprint",
        "impressum",
        "help",
        "support",
        "faq",
        "docs",
        "doc",
        "documentation",
        "blog",
        "careers",
        "about",
        "contact",
        "feedback",
        "survey",
        "revoke",
        "cancel",
        "unsubscribes",
        "abuse",
        "report",
        "cookie",
        "cookies",
        "datenschutz",
        "kontakt",
        "hilfe",
        "aide",
        "ayuda",
        "browser",
        "webversion",
        "web-version",
        "viewinbrowser",
        "nps",
        "social",
    ]
)
_UNSUBSCRIBE_TOKENS = frozenset({"unsubscribe", "unsub", "optout", "preferences", "unsubscribes"})
_ASIDE_HOSTS = (
    "facebook.com", "twitter.com", "x.com", "instagram.com", "linkedin.com", "youtube.com", "youtu.be", "tiktok.com",
    "pinterest.com", "apps.apple.com", "itunes.apple.com", "play.google.com", "t.me", "wa.me",
    "whatsapp.com", "weibo.com",
    "vk.com", "discord.gg", "mastodon.social", "bsky.app", "threads.net", "medium.com", "snapchat.com", "reddit.com",
    "w3.org", "schema.org",
)  # fmt: skip


@dataclass(slots=True)
class _Place:
    """One place of a URL: an anchor, or a URL that stands in the text (`bare`), maybe in brackets after its name."""

    url: str
    text: str
    line: int
    start: int
    bare: bool
    alone: bool
    button: bool = False
    visible: bool = True
    image_only: bool = False
    named: bool = False


@dataclass(slots=True)
class _Scored:
    place: _Place
    facts: UrlFacts
    kind: str
    score: float
    own: bool
    """Whether its own text asks for something, rather than the words around it."""


class _Context:
    """The words of each line, looked up once."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self._kinds: dict[int, str] = {}
        self._above: dict[int, tuple[int, ...]] = {}

    def kind_of(self, text: str) -> str:
        """The action that a text names, empty for none."""
        text = lower_in_place(text)
        for kind, words in action_words():
            if words.found_in(text):
                return kind
        return ""

    def line_kind(self, index: int) -> str:
        if index not in self._kinds:
            self._kinds[index] = self.kind_of(self.lines[index].text[-_CONTEXT_CHARS:])
        return self._kinds[index]

    def above(self, index: int) -> tuple[int, ...]:
        """The nearest lines with text above a line."""
        if index not in self._above:
            found: list[int] = []
            at = index - 1
            while at >= 0 and len(found) < _LINES_ABOVE and index - at <= 10:
                if self.lines[at].text.strip():
                    found.append(at)
                at -= 1
            self._above[index] = tuple(found)
        return self._above[index]

    def kind_before(self, place: _Place) -> str:
        """The action that the words before it on its line name."""
        if not 0 <= place.line < len(self.lines):
            return ""
        return self.kind_of(self.lines[place.line].text[max(0, place.start - _LABEL_CHARS) : place.start])

    def kind_above(self, index: int) -> str:
        return next((kind for at in self.above(index) if (kind := self.line_kind(at)) in _STRONG), "")

    def revoking(self, place: _Place, *, own: bool) -> bool:
        """Whether the words before it are for those who did not ask for the mail."""
        if not 0 <= place.line < len(self.lines):
            return False
        before = self.lines[place.line].text[max(0, place.start - _CONTEXT_CHARS) : place.start]
        if before.strip():
            return revoke_words().found_in(lower_in_place(before))
        if own or place.button:
            return False
        return any(
            revoke_words().found_in(lower_in_place(self.lines[at].text[-_LABEL_CHARS:]))
            for at in self.above(place.line)[:1]
        )


def _trimmed(url: str) -> str:
    """Without what belongs to the sentence: punctuation, and closing brackets that were opened before it."""
    end = len(url)
    for _ in range(20):
        last = url[end - 1 : end]
        opening = _PAIRS.get(last)
        if last and (last in _TAIL or (opening is not None and url.count(last, 0, end) > url.count(opening, 0, end))):
            end -= 1
        else:
            break
    return url[:end]


def _bare_places(index: int, line: Line) -> list[_Place]:
    text = line.text
    if "http" not in text.lower():
        return []
    covered = [(start, end) for start, end, _ in line.anchors]
    places: list[_Place] = []
    last = 0
    for match in _URL.finditer(text):
        url = _trimmed(match.group())
        start, end = match.start(), match.start() + len(url)
        if match.end() - match.start() >= _MOST_URL or any(s < end and e > start for s, e in covered):
            continue
        before = text[max(last, start - _LABEL_CHARS) : start]
        alone = not any(char.isalnum() for char in before) and not any(char.isalnum() for char in text[end : end + 100])
        label = _SENTENCE.split(_BULLET.sub("", _TEXT_BEFORE.sub("", before)))[-1].strip()
        named = len(label) <= _SHORT_LABEL and _BRACKET.search(before) is not None and before.lstrip().startswith(label)
        places.append(_Place(url, label, index, start, bare=True, alone=alone, named=bool(label) and named))
        last = end
        if len(places) >= MOST_LINKS:
            break
    return places


def _places(lines: Sequence[Line], anchors: Sequence[Anchor] | None) -> list[_Place]:
    """All places of URLs, in the order of the mail."""
    at: dict[int, tuple[int, int, int]] = {}
    found: list[_Place] = []
    for index, line in enumerate(lines):
        for start, end, anchor in line.anchors:
            at.setdefault(anchor, (index, start, end))
        if len(found) < _MOST_ANCHORS:
            found.extend(_bare_places(index, line))
    if not anchors:
        return found
    position = (0, 0)
    for number, anchor in enumerate(anchors[:_MOST_ANCHORS]):
        where = at.get(number)
        alone = False
        if where is not None:
            position = where[:2]
            text = lines[where[0]].text
            rest = text[max(0, where[1] - 100) : where[1]] + text[where[2] : where[2] + 100]
            alone = not any(char.isalnum() for char in rest)
        line = position[0] if where is not None else anchor.line
        place = _Place(anchor.url, anchor.label, line, position[1], bare=False, alone=alone)
        place.button, place.visible, place.image_only = anchor.button, anchor.visible, anchor.image_only
        found.append(place)
    # Anchors were appended after bare URLs; an anchor that cannot be seen stays behind the one before it.
    order = {id(place): (place.line if place.line >= 0 else 0, place.start) for place in found}
    latest = (0, 0)
    for place in found:
        if not place.bare:
            latest = order[id(place)] = max(latest, order[id(place)])
    return sorted(found, key=lambda place: order[id(place)])


def _is_aside_host(host: str) -> bool:
    return host.endswith(_ASIDE_HOSTS) and any(host == name or host.endswith("." + name) for name in _ASIDE_HOSTS)


def _path_words(facts: UrlFacts) -> tuple[str, bool, bool]:
    """`(kind that path and query names tell, aside, unsubscribe)`."""
    names = "&".join(pair.partition("=")[0] for pair in facts.query[:1_000].split("&", 30))
    tokens = [token.lower() for token in _PATH_TOKENS.split(facts.path[:600] + "/" + names) if token]
    named = {_KIND_OF_TOKEN[token] for token in tokens if token in _KIND_OF_TOKEN}
    kind = next((kind for kind in ("reset", "invite", "verify", "login", "pay") if kind in named), "")
    aside = any(token in _ASIDE_TOKENS for token in tokens[:1] + tokens[-1:]) or "revoke" in tokens
    unsubscribe = any(token in _UNSUBSCRIBE_TOKENS for token in tokens)
    return kind, aside or unsubscribe, unsubscribe


def _score(place: _Place, context: _Context, repeated: bool, late: bool) -> _Scored:
    facts = url_facts(place.url)
    if not facts.host:
        return _Scored(place, facts, "other", WEIGHTS["no web page: mailto, tel, a URL without a host"], own=False)
    # A click counter's URL tells nothing of the page behind it; if that can be read from it, it speaks instead.
    page = url_facts(facts.target) if facts.target else facts
    blind = facts.tracker and not facts.target
    label = lower_in_place(place.text[:_LABEL_CHARS])
    is_url = "://" in label or bool(shown_host(label))
    own_kind = "" if is_url and not place.bare else context.kind_of(label)
    path_kind, path_aside, path_unsubscribe = ("", False, False) if blind else _path_words(page)
    kind = own_kind if own_kind in _STRONG else path_kind or own_kind
    score = 0.0

    if own_kind and (not place.bare or place.text):
        strong = own_kind in _STRONG
        if place.bare:
            score += WEIGHTS["URL as text: action named on its line"] * (1.0 if strong else 0.7)
        else:
            score += WEIGHTS["asks to verify, reset, log in, join or pay" if strong else "asks to look at something"]
    if place.alone and not place.bare and own_kind in _STRONG and own_kind != "login":
        score += WEIGHTS["asks to verify, reset, join or pay, alone on its line"]
    if is_url and not place.bare and _mismatch(shown_host(place.text), facts):
        score += WEIGHTS["shows another site than it leads to"]
    unsubscribes = path_unsubscribe or (not is_url and unsubscribe_words().found_in(label))
    if unsubscribes or (not is_url and aside_words().found_in(label) and not (place.bare and own_kind in _STRONG)):
        score += WEIGHTS["unsubscribe, privacy, help, social"]
    if place.button:
        score += WEIGHTS["button"]
    if place.image_only:
        score += WEIGHTS["image alone"]
    if not place.visible:
        # A box that looks like a button is in sight even when its text was lost.
        score += WEIGHTS["button without a text" if place.button and not place.text else "cannot be seen"]
    if late:
        score += WEIGHTS["among the last quarter of many"]
    if page.secret and not blind:
        score += WEIGHTS["carries a secret"]
    if path_kind:
        score += WEIGHTS["path names the action" if page.secret else "path names the action, no secret"]
    if path_aside or _is_aside_host(page.host):
        score += WEIGHTS["path or host of an aside"]
    if not blind and page.path in ("", "/") and not page.secret:
        score += WEIGHTS["bare domain"]
    if repeated and page.secret:
        score += WEIGHTS["same URL again, with a secret"]

    as_text = place.bare or is_url
    if as_text and place.alone:
        score += WEIGHTS["URL as text: alone on its line"]
    if place.named:
        score += WEIGHTS["URL as text: in brackets after a short text"]
    beside = context.kind_before(place) if is_url and not place.bare else ""
    if beside in _STRONG:
        score += WEIGHTS["URL as text: action named on its line"]
        kind = kind or beside
    above = context.kind_above(place.line) if place.line >= 0 and not own_kind and beside not in _STRONG else ""
    if above:
        if as_text:
            score += WEIGHTS["URL as text: action named above"]
            kind = kind or above
        else:
            score += WEIGHTS["action named above a link with a text of its own"]
    if context.revoking(place, own=own_kind in _STRONG and not place.bare):
        score += WEIGHTS["for those who did not ask"]
    if unsubscribes:
        kind = "unsubscribe"
    return _Scored(place, facts, kind or "other", score, own=bool(own_kind))


def _accepted(scored: list[_Scored]) -> set[int]:
    """Which of the links, each URL once, the mail asks to follow."""
    if any(one.kind == "unsubscribe" for one in scored):
        buttons = sum(one.place.button for one in scored)
        name = "mass mail of many buttons, only to be looked at" if buttons > 1 else "mass mail, only to be looked at"
        for one in scored:
            if one.kind in ("view", "other") and (one.facts.tracker or not one.facts.secret):
                one.score += WEIGHTS[name]
    best = max((one.score for one in scored), default=0.0)
    floor = max(ACCEPT, best - WITHIN_OF_BEST)
    accepted = {index for index, one in enumerate(scored) if one.score >= floor and one.facts.host}
    if len(accepted) > MOST_ACTIONS:
        accepted = {index for index in accepted if scored[index].kind in _STRONG and scored[index].facts.secret}
    return accepted if len(accepted) <= MOST_ACTIONS else set()


def _shown_before_at(url: str) -> str:
    """The host that a URL in the text shows before an @, when it has one there."""
    web = split_web_url(url)
    return shown_host(url) if web is not None and "@" in web[1] else ""


def _mismatch(shown: str, facts: UrlFacts) -> bool:
    if not shown or facts.scheme not in ("http", "https"):
        return False
    leads_to = facts.host
    if facts.known:
        if not facts.target:
            return False
        leads_to = url_facts(facts.target).host
    # One name may be written in its own script and in ASCII (`xn--`).
    return registrable_domain(unicode_host(shown)) != registrable_domain(unicode_host(leads_to))


def find_links(
    subject: str, lines: Sequence[Line], anchors: Sequence[Anchor] | None, *, from_domain: str = ""
) -> tuple[FoundLink, ...]:
    """Every link in order, each URL once, at most `MOST_LINKS`. Never raises.

    `anchors` None means plain text: URLs are found in the lines. URLs that stand as text in HTML are found as well.
    `subject` decides where a URL stands with no word of its own around it.
    """
    places = _places(lines, anchors)
    context = _Context(lines)
    counts: dict[str, int] = {}
    looked_at: list[_Place] = []
    for place in places:
        counts[place.url] = times = counts.get(place.url, 0) + 1
        if times <= _MOST_REPEATS:
            looked_at.append(place)
    first: dict[str, int] = {}
    scored: list[_Scored] = []
    shown: list[str] = []
    sent_by = registrable_domain(from_domain) if from_domain else ""
    many = len(counts) > 4
    for place in looked_at:
        index = first.get(place.url)
        if index is None and len(scored) >= MOST_LINKS:
            continue
        late = many and (index if index is not None else len(scored)) >= len(counts) * 0.75
        one = _score(place, context, repeated=counts[place.url] > 1, late=late)
        # A URL may show one host before an @ and lead to another.
        mark = shown_host(place.text) if not place.bare else _shown_before_at(place.url)
        if index is None:
            first[place.url] = len(scored)
            scored.append(one)
            shown.append(mark)
        else:
            shown[index] = shown[index] or mark
            if one.score > scored[index].score:
                scored[index] = one
    named = context.kind_of(subject[:300]) if scored else ""
    for one in scored:
        if named in _STRONG and one.kind == "other" and one.facts.secret and one.score >= 0:
            one.kind = named
    accepted = _accepted(scored)
    return tuple(
        FoundLink(
            url=one.place.url,
            text=one.place.text,
            kind=one.kind,
            is_cta=index in accepted,
            score=round(one.score, 2),
            host=one.facts.host,
            domain=(domain := registrable_domain(one.facts.host)),
            same_site=bool(sent_by) and domain == sent_by,
            mismatch=_mismatch(mark, one.facts),
        )
        for index, (one, mark) in enumerate(zip(scored, shown, strict=True))
    )
