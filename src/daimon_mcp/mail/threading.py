"""Which mails belong together: pure rules over ids, subjects, people and words (RFC 5322 §3.6.4, RFC 5256 §2.2).

The ids that a mail refers to decide. The subject joins only answers that refer to nothing, and separates only what
plainly begins something new under an old id.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

from daimon_mcp.domain.clock import DAY
from daimon_mcp.mail.subjects import base_subject, is_reply_subject

SUBJECT_WINDOW = 30 * DAY
MAX_PARENTS = 1000

_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")
_QUOTED_LOCAL = re.compile(r'"([A-Za-z0-9!#$%&\'*+/=?^_`{|}~.-]{1,500})"@')
_WORD = re.compile(r"[^\W_]{2,60}")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SMALL_WORDS = frozenset({
    "a", "an", "and", "are", "as", "at", "att", "av", "by", "che", "con", "da", "das", "de", "del", "dem",
    "den", "der", "des", "di", "die", "do", "dos", "du", "e", "een", "ein", "eine", "el", "em", "en", "et",
    "for", "from", "für", "gli", "het", "i", "il", "im", "in", "is", "ist", "it", "la", "las", "le", "les",
    "lo", "los", "med", "met", "mit", "my", "na", "no", "o", "och", "of", "og", "on", "op", "or", "os", "our",
    "para", "per", "por", "pour", "på", "que", "sur", "te", "the", "this", "til", "to", "um", "uma", "un",
    "una", "und", "une", "van", "von", "voor", "we", "with", "y", "you", "your", "zu", "zum", "zur",
})  # fmt: skip
_STEM = 5
_NOT_LETTERS = re.compile(r"[\W_]+")
_QUOTE_WINDOW = 24
_TEXT = 20_000


def normal_id(message_id: str) -> str:
    """A Message-ID as ids are compared: in angle brackets, without white space, in lower case, "" for none.

    Some programs change the case of the ids they answer to; two ids that differ in nothing else do not occur.
    """
    bare = _SPACE.sub("", message_id).strip("<>").lower()
    plain = _QUOTED_LOCAL.sub(r"\1@", bare)
    return f"<{plain}>" if plain else ""


def parents_of(references: Iterable[str], in_reply_to: Iterable[str], people: Collection[str] = ()) -> tuple[str, ...]:
    """The ids a mail refers to, normal and each once, nearest first: References from its end, then In-Reply-To.

    `people` are the addresses on the mail: old programs write the author's address into In-Reply-To, which would join
    all that was ever answered to them. At most MAX_PARENTS, the nearest.
    """
    addresses = {address.lower() for address in people}
    found: dict[str, None] = {}
    for raw in (*reversed(tuple(references)), *in_reply_to):
        normal = normal_id(raw)
        if normal and normal[1:-1] not in addresses:
            found[normal] = None
            if len(found) >= MAX_PARENTS:
                break
    return tuple(found)


def is_copy(subject: str, other_subject: str) -> bool:
    """Whether two mails under one Message-ID are copies of one mail (say one by a list), by their subjects.

    If not, the id was given twice, and the second is no reason to join them.
    """
    base = comparable(subject)
    return bool(base) and base == comparable(other_subject)


def may_join_by_subject(
    *,
    subject: str,
    parents: Collection[str],
    people: Collection[str],
    at: int,
    thread_subject: str,
    thread_people: Collection[str],
    thread_last_at: int,
    own: Collection[str] = (),
) -> bool:
    """Whether a mail may join a thread although it refers to none of its ids.

    Only an answer (its subject has a reply mark) that refers to nothing at all, with the same base subject, with
    somebody in common, within SUBJECT_WINDOW of the thread's last mail. Times are epoch µs. `own` are the addresses of
    the inbox itself: they are on every mail of it and say nothing.
    """
    if parents or abs(at - thread_last_at) > SUBJECT_WINDOW or not is_reply_subject(subject):
        return False
    base = comparable(subject)
    if not base or base != comparable(thread_subject):
        return False
    ours = {address.lower() for address in own}
    there = {address.lower() for address in thread_people} - ours
    return any(address.lower() in there for address in people)


def splits_off(*, kind: str, subject: str, text: str, parent_subject: str, parent_text: str) -> bool:
    """Whether a mail that refers to a parent begins a new thread all the same, related to the parent's.

    People answer an old mail for its addresses and write of something else: the base subjects have no word in common
    (endings aside) and nothing of the parent is quoted in `text` (the whole body, quotes included). Never what a
    program answers: its subjects are its own.
    """
    if kind != "human":
        return False
    words, parent_words = _words(subject), _words(parent_subject)
    if not words or not parent_words or not words.isdisjoint(parent_words):
        return False
    return not quotes(text, parent_text)


def quotes(text: str, parent_text: str) -> bool:
    """Whether `text` repeats a stretch of `parent_text`, however it is marked, wrapped and spaced.

    A stretch is _QUOTE_WINDOW letters, or all of a shorter parent. The first _TEXT characters of each count.
    """
    parent = _NOT_LETTERS.sub("", parent_text[:_TEXT].casefold())
    letters = _NOT_LETTERS.sub("", text[:_TEXT].casefold())
    if len(parent) <= _QUOTE_WINDOW:
        return bool(parent) and parent in letters
    windows = {parent[at : at + _QUOTE_WINDOW] for at in range(len(parent) - _QUOTE_WINDOW + 1)}
    return any(letters[at : at + _QUOTE_WINDOW] in windows for at in range(len(letters) - _QUOTE_WINDOW + 1))


def comparable(subject: str) -> str:
    """A base subject as subjects are compared: without case and without differences of width."""
    return unicodedata.normalize("NFKC", base_subject(subject)).casefold().strip()


def _words(subject: str) -> set[str]:
    """What the words of a base subject begin with, small words left out; where no spaces part words, pairs of signs."""
    words = set(_WORD.findall(comparable(subject)))
    found = {word[:_STEM] for word in words - _SMALL_WORDS or words}
    for word in words:
        if _UNSPACED.search(word):
            found.update(word[at : at + 2] for at in range(len(word) - 1))
    return found
