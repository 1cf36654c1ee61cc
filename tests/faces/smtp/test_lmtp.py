"""LMTP: conversations as text in tests/transcripts/lmtp, and smtplib's client on a port and on a socket."""

from __future__ import annotations

import smtplib
import stat
from pathlib import Path

import anyio
import pytest
from tests.faces.smtp.server import serving_lmtp
from tests.support.transcript import play, read

FILES = sorted((Path(__file__).parents[2] / "transcripts" / "lmtp").glob("*.txt"))
MESSAGE = b"Subject: hi\r\n\r\n.hello\r\n"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_the_lmtp_conversation_goes_as_written(file: Path) -> None:
    transcript = read(file)
    async with serving_lmtp() as lmtp:
        await play(transcript, lmtp.host, lmtp.port)
        assert len(lmtp.core.messages) == int(transcript.facts["stores"])


@pytest.mark.parametrize("on_a_socket", [True, False])
async def test_a_mail_server_in_front_hands_mail_in(on_a_socket: bool, tmp_path: Path) -> None:
    path = tmp_path / "lmtp"
    path.touch()
    path.unlink()
    async with serving_lmtp(path=path if on_a_socket else None) as lmtp:

        def talk() -> None:
            host, port = (str(path), 0) if on_a_socket else (lmtp.host, lmtp.port)
            with smtplib.LMTP(host, port, "relay.mx.example") as client:
                assert client.sendmail("sam@sender.example", ["ada@mx.example"], MESSAGE) == {}

        await anyio.to_thread.run_sync(talk)
        [(envelope, peer, content)] = lmtp.core.messages
        if on_a_socket:
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()
    assert (envelope.mail_from, envelope.rcpt_to, content) == ("sam@sender.example", ("ada@mx.example",), MESSAGE)
    assert peer.lmtp
    assert (peer.address, peer.helo) == ("" if on_a_socket else "127.0.0.1", "relay.mx.example")


async def test_a_socket_that_was_left_behind_is_replaced_and_is_not_counted_by_address(tmp_path: Path) -> None:
    path = tmp_path / "lmtp"
    async with serving_lmtp(path=path):
        left = path.rename(tmp_path / "left")
    left.rename(path)
    async with serving_lmtp(path=path) as lmtp:

        def talk() -> None:
            clients = [smtplib.LMTP(str(path), 0, "relay.mx.example") for _ in range(30)]
            for client in clients:
                client.sendmail("sam@sender.example", ["ada@mx.example"], MESSAGE)
                client.close()

        await anyio.to_thread.run_sync(talk)
        assert len(lmtp.core.messages) == 30
