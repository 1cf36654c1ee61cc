"""swaks walks every row of the table of submission replies; its output is kept in tests/transcripts/swaks.

A file begins with facts (`% settings`, as JSON; `% tier`; `% before`, see `BEFORE`; `% exit`), then the arguments
behind `$ `, then what swaks writes, `*` being any text. Lines of swaks about itself (`===`) are left out. `{large}` is
a file that holds a mail of 70 kB.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import anyio
import pytest
from tests.faces.smtp.mailroom import Mailroom, mailroom
from tests.support.programs import ROOT, swaks

from daimon_mcp.domain.tiers import Tier

FILES = sorted((ROOT / "tests/transcripts/swaks").glob("*.txt"))


@asynccontextmanager
async def rotated(room: Mailroom) -> AsyncGenerator[None]:
    """The password that swaks has is not the newest."""
    await room.agent.do("rotate_smtp_password")
    yield


@asynccontextmanager
async def logged_in(room: Mailroom) -> AsyncGenerator[None]:
    """Somebody else has a session, on the port with TLS."""
    async with room.secure():
        yield


@asynccontextmanager
async def failed_login(room: Mailroom) -> AsyncGenerator[None]:
    """Somebody at the same address has tried a wrong password."""
    async with room.secure(log_in=False) as client:
        await client.say(room.plain(password="no"))
    yield


@asynccontextmanager
async def connected(room: Mailroom) -> AsyncGenerator[None]:
    """Somebody else is connected to the STARTTLS port."""
    async with room.in_clear():
        yield


@asynccontextmanager
async def store_down(room: Mailroom) -> AsyncGenerator[None]:
    """Mail cannot be stored: the table it goes into is not there."""

    def rename(old: str, new: str) -> None:
        store = sqlite3.connect(room.daimon.app.settings.data_dir / "mail.db")
        store.execute(f"ALTER TABLE {old} RENAME TO {new}")
        store.commit()
        store.close()

    await asyncio.to_thread(rename, "incoming", "elsewhere")
    yield
    await asyncio.to_thread(rename, "elsewhere", "incoming")


@asynccontextmanager
async def nothing(room: Mailroom) -> AsyncGenerator[None]:
    """As it is."""
    yield


BEFORE: dict[str, Callable[[Mailroom], AbstractAsyncContextManager[None]]] = {
    each.__name__: each for each in (rotated, logged_in, failed_login, connected, store_down, nothing)
}


def arguments(room: Mailroom, line: str) -> list[str]:
    """The whole command line of swaks."""
    large = room.daimon.app.settings.data_dir / "large.eml"
    if "{large}" in line:
        large.write_text(room.letter() + ("x" * 69 + "\r\n") * 1000)
    given = shlex.split(line.replace("{large}", str(large)))
    host, port = room.daimon.submission_tls if "--tls-on-connect" in given else room.daimon.submission
    server = ["--server", host, "--port", str(port), "--helo", "c.example", "--tls-verify"]
    trust = ["--tls-ca-path", str(room.daimon.app.settings.data_dir / "tls" / "self-signed.pem")]
    login = ["--auth-user", room.username, "--auth-hide-password"] if "--auth" in given else []
    if login and "--auth-password" not in given:
        login += ["--auth-password", room.password]
    return [*server, *trust, *login, *given]


def spoken(output: str) -> list[str]:
    """What swaks wrote, without what it says about itself."""
    return [line.rstrip() for line in output.splitlines() if line and not line.startswith("===")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_swaks_is_answered_as_written(file: Path, tmp_path: Path) -> None:
    lines = (await anyio.Path(file).read_text()).splitlines()
    facts = dict(line[2:].split(": ", 1) for line in lines if line.startswith("% "))
    [command] = [line[2:] for line in lines if line.startswith("$ ")]
    expected = [line for line in lines[lines.index(f"$ {command}") + 1 :] if line]
    settings = json.loads(facts.get("settings", "{}"))
    before = BEFORE[facts.get("before", "nothing")]
    tier = Tier(facts.get("tier", "starter"))
    async with mailroom(tmp_path / "data", settings, tier=tier) as room, before(room):
        finished = await swaks(*arguments(room, command))
    said = spoken(finished.output)
    assert len(said) == len(expected), finished.output
    for got, pattern in zip(said, expected, strict=True):
        assert fnmatchcase(got, pattern.replace("[", "[[]")), f"{got!r} is not {pattern!r}\n{finished.output}"
    assert finished.code == int(facts["exit"]), finished.output


def test_every_row_has_its_file() -> None:
    text = "\n".join(file.read_text() for file in FILES)
    for reply in (
        "250 2.0.0 Ok: queued as msg_", "550 5.7.1 Sender address rejected: not owned by this account", "550 5.7.26 ",
        "535 5.7.8 Authentication failed", "535 5.7.8 SMTP access requires", "554 5.7.1 Relay access denied",
        "421 4.7.0 Too many connections", "452 4.5.3 ", "552 5.3.4 ", "451 4.3.0 ",
        "454 4.7.0 Too many failed logins from your IP address, try again in ",
    ):  # fmt: skip
        assert reply in text, reply
