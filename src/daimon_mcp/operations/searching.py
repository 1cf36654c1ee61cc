"""Finding mail by words and operators, in one inbox or in all that the actor has; hits are shown in their places."""

from __future__ import annotations

import base64
import binascii
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.refusals import RefusalCode, Refused, invalid
from daimon_mcp.domain.search_query import parse
from daimon_mcp.domain.search_text import Marker, Wanted
from daimon_mcp.domain.search_tree import Column, Query
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.exposure import read_outside_mail
from daimon_mcp.operations.requests import Id, Request
from daimon_mcp.operations.views import message_view
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import inboxes, messages, search
from daimon_mcp.store.search import Hit

MOST_INBOXES = 40  # that are searched when none was named: the newest
MOST_RANKED_INBOXES = 8  # that are searched by relevance: words are weighed anew for each


class SearchMessages(Request):
    query: Annotated[
        str,
        Field(
            min_length=1,
            max_length=500,
            description='Words "phrase" OR -not word* from: subject: label: has:attachment is:unread newer_than:7d',
        ),
    ]
    inbox: Annotated[Id | None, Field(description="id or address")] = None
    sort: Literal["newest", "relevance"] = "newest"
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a search goes on: below which number in each inbox that has more; ranked ones at which of their hits."""

    below: Mapping[int, int]
    offset: int | None = None

    def text(self) -> str:
        head = b"" if self.offset is None else b"\x80" + self.offset.to_bytes(2, "big")
        raw = head + b"".join(number.to_bytes(8, "big") for number in self.below.values())
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _read_place(text: str, *, ranked: bool) -> _Place:
    """A place that was given out. Raises INVALID_REQUEST for anything else, and for one of the other order."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    offset: int | None = None
    if raw[:1] == b"\x80":
        offset, raw = int.from_bytes(raw[1:3], "big"), raw[3:]
    numbers = [int.from_bytes(raw[at : at + 8], "big") for at in range(0, len(raw), 8)]
    if not numbers or len(raw) % 8 or len(numbers) > MOST_INBOXES or max(numbers) > messages.LAST_SEQ:
        raise invalid("cursor", "is not a cursor of this server; pass one from an earlier result unchanged")
    if ranked != (offset is not None):
        raise invalid("cursor", "is of a search in another order; pass the same sort with it")
    # A number that bounds an inbox from above may be the first of the next one.
    return _Place({(number - 1) >> messages.SEQ_BITS: number for number in numbers}, offset)


class Searching:
    """The searching verb."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def search_messages(self, actor: Actor, request: SearchMessages) -> Outcome:
        """Messages that a query means, newest first or best first, with their hits marked.

        Without an inbox all of the actor's are searched, the newest 40. Best first puts the newest 2,000 hits in order,
        fewer where other conditions are rare, of 8 inboxes at most. A page with fewer messages than `limit`, or none,
        and a cursor is how far one call goes.
        Raises INBOX_NOT_FOUND, INVALID_REQUEST.
        """
        actor.require("message_read")
        query = parse(request.query, self._core.clock.now())
        if query.node is None:
            raise invalid("query", "holds nothing to look for: no word, no operator that finds any", "from:ann invoice")
        ranked = request.sort == "relevance"
        where = await self._inboxes(actor, request.inbox)
        if ranked and len(where) > MOST_RANKED_INBOXES:
            raise invalid("inbox", "is required for this sort: there are many inboxes", "inb_… or name@domain")
        if request.cursor is None:
            place = _Place({each.no: messages.last_seq(each.no) for each in where}, 0 if ranked else None)
        else:
            place = _read_place(request.cursor, ranked=ranked)
            known = {each.no for each in where}
            place = _Place({no: below for no, below in place.below.items() if no in known}, place.offset)
            if not place.below:
                raise Refused(RefusalCode.INBOX_NOT_FOUND, reason="CURSOR_OF_ANOTHER_INBOX")
        older = False
        if ranked:
            shown, following, older = await self._ranked(query, place, request.limit)
        else:
            shown, following = await self._newest(query, place, request.limit)
        if shown:
            await read_outside_mail(self._core, actor)
        page = await self._page(query, shown)
        result: dict[str, Any] = {
            "messages": page,
            "has_more": following is not None,
            "next_cursor": following.text() if following else None,
        }
        if len(where) > 1:
            result["inboxes_searched"] = len(where)
        key = "" if page else ".further" if following or older else ".none"
        return Outcome(
            key=f"search_messages{key}",
            result=result,
            facts={
                "shown": len(page),
                "more": "yes" if following else None,
                "older": "yes" if older and not following else None,
                "empty": _named(query.empty),
                "near": _named(query.near),
            },
        )

    async def _inboxes(self, actor: Actor, reference: str | None) -> list[Inbox]:
        if reference is not None or actor.inbox_no is not None:
            return [await access.inbox(self._core, actor, reference)]
        rows = await self._core.database.all(
            sql.inboxes_page, account_no=actor.account_no, before=messages.LAST_SEQ, only_inbox=0, limit=MOST_INBOXES
        )
        if not rows:
            raise Refused(RefusalCode.INBOX_NOT_FOUND)
        return [inboxes.inbox_of(row) for row in rows]

    async def _newest(self, query: Query, place: _Place, limit: int) -> tuple[list[int], _Place | None]:
        """The next page over all inboxes, merged by time, and where each of them goes on."""
        found: list[list[tuple[int, Hit, int]]] = []
        following: dict[int, int] = {}
        for number, below in place.below.items():
            one = await search.find(
                self._core.database, query, number, below=below, limit=limit, share=len(place.below)
            )
            found.append([(-hit.received_at, hit, number) for hit in one.hits])
            if one.position is not None:
                following[number] = one.position
        merged = list(heapq.merge(*found, key=lambda each: each[0]))
        for _, hit, number in reversed(merged[limit:]):  # not shown now: the next page begins with the newest of them
            following[number] = max(following.get(number, 0), hit.seq + 1)
        order = {number: following[number] for number in place.below if number in following}
        return [hit.seq for _, hit, _ in merged[:limit]], _Place(order) if order else None

    async def _ranked(self, query: Query, place: _Place, limit: int) -> tuple[list[int], _Place | None, bool]:
        """A page of the newest hits in order of relevance; and whether there may be older ones.

        What came after the first page is not among them.
        """
        offset = place.offset or 0
        each = search.MOST_RANKED // len(place.below)
        hits: list[Hit] = []
        tops: dict[int, int] = {}
        older = False
        for number, below in place.below.items():
            one = await search.find(self._core.database, query, number, below=below, limit=each, relevance=True)
            hits += one.hits
            older = older or one.position is not None
            # An inbox without hits stays in the cursor, with nothing below: what it gets later is not for this search.
            tops[number] = max((hit.seq for hit in one.hits), default=messages.first_seq(number)) + 1
        if len(place.below) > 1:
            hits.sort(key=lambda hit: (hit.score, -hit.received_at))
        more = len(hits) > offset + limit
        following = _Place(tops, offset + limit) if more else None
        return [hit.seq for hit in hits[offset : offset + limit]], following, older

    async def _page(self, query: Query, seqs: Sequence[int]) -> list[dict[str, Any]]:
        if not seqs:
            return []
        found = await search.page(self._core.database, seqs)
        markers = _markers(query)
        shown: list[dict[str, Any]] = []
        unseen: dict[int, dict[str, Any]] = {}
        for each in found:
            message = messages.message_of(each.row)
            view = message_view(message)
            if markers:
                texts: dict[Column, str] = {
                    "body": each.body,
                    "subject": message.subject,
                    "sender": search.people([message.from_]),
                    "recipients": search.people(message.to, message.cc, message.bcc),
                }
                _mark(view, markers, texts)
                if message.has_attachments and "body" not in view["matched_in"]:
                    unseen[each.seq] = view
            shown.append(view)
        if unseen:
            for seq, names in (await search.files(self._core.database, list(unseen))).items():
                _mark_files(unseen[seq], markers, names)
        return shown


def _named(operators: Sequence[str]) -> str | None:
    return " ".join(f"{name}:" for name in operators) or None


def _markers(query: Query) -> dict[Column, Marker]:
    """For each column what is to be marked there; none for a query without words."""
    words = query.wanted()
    columns: tuple[Column, ...] = ("body", "subject", "sender", "recipients", "files")
    return {
        column: Marker([Wanted(each.text, each.prefix) for each in words if each.column in (None, column)])
        for column in columns
        if words
    }


def _mark(view: dict[str, Any], markers: Mapping[Column, Marker], texts: Mapping[Column, str]) -> None:
    """Say where the words are, and show them in the first of these places."""
    matched: list[Column] = [column for column, text in texts.items() if markers[column].hits(text)]
    view["matched_in"] = matched
    view["highlight"] = markers[matched[0]].window(texts[matched[0]]) if matched else None


def _mark_files(view: dict[str, Any], markers: Mapping[Column, Marker], files: Sequence[str]) -> None:
    window = next((window for text in files if (window := markers["files"].window(text))), None)
    if window is not None:
        view["matched_in"] = ["attachments", *view["matched_in"]]
        view["highlight"] = window
