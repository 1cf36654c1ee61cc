"""The session alone, without a network: the same bytes give the same replies and messages however they are cut up."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.faces.smtp.server import HOSTNAME, FakeClock, MemoryCore

from daimon_mcp.domain.envelopes import Envelope
from daimon_mcp.faces.smtp import content
from daimon_mcp.faces.smtp.dialogue import Action, Ask, Need
from daimon_mcp.faces.smtp.inbound import InboundSession
from daimon_mcp.faces.smtp.service import Budget, Limits, Service
from daimon_mcp.faces.smtp.spool import Spool

LIMITS = Limits(max_message_bytes=400, max_recipients=3, max_errors=8)
Heard = tuple[list[bytes], list[tuple[Envelope, bytes]], int, bool]


async def talk(turns: Sequence[Sequence[bytes]]) -> Heard:
    """Give a session the pieces of each turn; its replies to each turn, the messages, how many of them were files,
    and whether it has hung up."""
    core = MemoryCore()
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(lambda: Path(folder))
        service = Service(HOSTNAME, LIMITS, FakeClock(), spool, Budget(LIMITS))
        session = InboundSession(service, core, "192.0.2.1", "c1d")

        async def until_it_waits(action: Action) -> Action:
            while isinstance(action, Ask) or action is Need.FLUSH:
                if not isinstance(action, Ask):
                    action = session.advance()
                    continue
                try:
                    result = await action.call()
                except Exception as error:  # noqa: BLE001  the session says what becomes of it
                    action = session.fail(error)
                else:
                    action = session.advance(result)
            return action

        action = await until_it_waits(session.advance())
        heard = [session.replies()]
        for pieces in turns:
            for piece in pieces:
                if action is Need.BYTES:
                    session.receive(piece)
                    action = await until_it_waits(session.advance())
            heard.append(session.replies())
        session.lost()
        await spool.close()
        assert os.listdir(folder) == []
        assert service.budget.hold(0)
    messages = [(envelope, received) for envelope, _, received in core.messages]
    return heard, messages, len(core.files), action is Need.CLOSE


LINES = st.sampled_from(
    [
        b"MAIL FROM:<sam@sender.example>\r\n",
        b"MAIL FROM:<> SIZE=300 BODY=8BITMIME\r\n",
        b"RCPT TO:<ada@mx.example>\r\n",
        b"RCPT TO:<bob@mx.example>\r\n",
        b"RCPT TO:<nobody@mx.example>\r\n",
        b"RCPT TO:<bug@mx.example>\r\n",
        b"RCPT TO:<full-later@mx.example>\r\n",
        b"NOOP\r\n",
        b"RSET\r\n",
        b"VRFY ada\r\n",
        b"NOOP\n",
        b"NO\rOP\r\n",
        b"\r\n",
        b"QUIT\r\n",
        b"NOOP " + b"x" * 3000 + b"\r\n",
        b"x" * 66_000 + b"\r\n",
    ]
)
PIECES = st.sampled_from(
    [b"\r\n", b"\r\n.", b".", b"..", b"\r\n.\r", b"text", b"x" * 90 + b"\r\n", b"\xff\x00", b"\r", b"\n", b"\r\n.\n"]
)
HELLO = b"EHLO c.example\r\n"
LETTER = (b"MAIL FROM:<sam@sender.example>\r\n", b"RCPT TO:<ada@mx.example>\r\n", b"DATA\r\n")
# A client waits for the reply to EHLO, DATA and its message; between these it may push whatever it has.
COMMANDS = st.lists(LINES, max_size=6).map(b"".join)
CONTENT = st.lists(PIECES, max_size=12).map(lambda pieces: b"".join(pieces) + b"\r\n.\r\n")
CONVERSATION = st.lists(
    st.one_of(
        COMMANDS.map(lambda lines: [lines]),
        st.tuples(COMMANDS, CONTENT, COMMANDS).map(lambda parts: [parts[0] + b"".join(LETTER), parts[1] + parts[2]]),
    ),
    max_size=4,
).map(lambda parts: [HELLO, *(turn for part in parts for turn in part)])


def cut(turn: bytes, where: Sequence[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(turn) + 1) for place in where), len(turn)]
    return [turn[start:end] for start, end in pairwise(places)]


@settings(max_examples=150)
@given(CONVERSATION, st.lists(st.integers(0, 100_000), max_size=12), st.sampled_from([40, 150, 262_144]))
async def test_how_bytes_are_cut_up_changes_nothing(turns: list[bytes], where: list[int], in_memory: int) -> None:
    with patch.object(content, "IN_MEMORY", in_memory):
        whole = await talk([[turn] for turn in turns])
        assert await talk([cut(turn, where) for turn in turns]) == whole
        if sum(map(len, turns)) < 3_000:
            assert await talk([[turn[at : at + 1] for at in range(len(turn))] for turn in turns]) == whole


@given(st.lists(PIECES, max_size=12).map(b"".join), st.lists(st.integers(0, 1_000), max_size=6))
async def test_content_is_kept_or_refused_for_what_it_is(text: bytes, where: list[int]) -> None:
    sent = text + b"\r\n.\r\n"
    raw = (b"\r\n" + sent)[: (b"\r\n" + sent).index(b"\r\n.\r\n") + 2]
    expected = raw.replace(b"\r\n.", b"\r\n")[2:]
    rest = raw.replace(b"\r\n", b"")
    with patch.object(content, "IN_MEMORY", 40):
        heard, messages, files, _ = await talk([[HELLO], [b"".join(LETTER)], cut(sent, where)])
    reply = heard[3].split(b"\r\n")[0]
    if len(expected) > LIMITS.max_message_bytes:
        assert reply == b"552 5.3.4 Message is larger than 400 octets"
    elif b"\r" in rest or b"\n" in rest:
        assert reply.startswith(b"550 5.6.11 ")
    else:
        assert reply == b"250 2.0.0 Ok, id c1d.1"
        assert messages[0][1] == expected
        assert files == (len(raw) > 40)
