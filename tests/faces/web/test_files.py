"""Files by link, over real HTTP: what a download says and does not let a browser do, and uploads that work once."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from tests.support.daimon import Agent, Daimon, MovableClock, running
from tests.support.post import OTHER, ROBO, arrive

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.faces.web.files import DOWNLOADS_OF_ACCOUNT, UPLOADS_OF_ACCOUNT, disposition, shown_type
from daimon_mcp.operations.file_links import LINK_LIFETIME
from daimon_mcp.operations.uploading import UploadAttachment
from daimon_mcp.store import accounts
from daimon_mcp.store.compiled import Statement

LIMIT = 100_000
MINUTES = LINK_LIFETIME // 60_000_000
SECTIONS: dict[str, Any] = {
    "limits": {"free": {"sends_per_month": 9000, "sends_per_day": 9000, "sends_per_minute": 9000}},
    "smtp": {"max_message_bytes": LIMIT},
}
CONTENT = bytes(range(256)) * 100


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    async with running(tmp_path / "data", SECTIONS, listeners=True, clock=MovableClock()) as made:
        yield made


@pytest.fixture
async def agent(daimon: Daimon) -> AsyncGenerator[Agent]:
    async with daimon.agent() as made:
        await made.do("create_inbox", username="robo")
        await made.do("create_inbox", username="other")
        yield made


@pytest.fixture
async def client() -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=20) as made:
        yield made


async def uploaded(agent: Agent, client: httpx2.AsyncClient, content: bytes, name: str, kind: str) -> str:
    made = await agent.do("upload_attachment", filename=name, content_type=kind)
    assert (await client.put(made["upload_url"], content=content)).status_code == 201
    return made["id"]


async def link(agent: Agent, handle: str) -> str:
    return (await agent.do("get_attachment", attachment_id=handle))["download_url"]


async def bodies(client: httpx2.AsyncClient, url: str, asked: str, **headers: str) -> tuple[int, bytes, str | None]:
    answer = await client.get(url, headers={"Range": asked, **headers})
    return answer.status_code, answer.content, answer.headers.get("content-range")


# -- downloads --------------------------------------------------------------------------------------------------------


async def test_a_file_of_a_message_is_fetched_by_its_link_alone(
    daimon: Daimon, agent: Agent, client: httpx2.AsyncClient
) -> None:
    handle = await uploaded(agent, client, CONTENT, "data.bin", "application/x-data")
    sent = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="s", body="b", attachments=[handle])
    [received] = (await agent.do("list_messages", inbox=OTHER))["messages"]
    for message in (sent["id"], received["id"]):
        [file] = (await agent.do("get_message", message_id=message))["attachments"]
        answer = await client.get(await link(agent, file["id"]))
        assert (answer.status_code, answer.content) == (200, CONTENT)
        assert answer.headers["content-type"] == "application/x-data"
        assert answer.headers["content-disposition"] == 'attachment; filename="data.bin"'
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "no-store" in answer.headers["cache-control"]
        assert "private" in answer.headers["cache-control"]
    assert (await client.get(await link(agent, handle))).content == CONTENT


async def test_ranges_and_head(agent: Agent, client: httpx2.AsyncClient) -> None:
    size = len(CONTENT)
    url = await link(agent, await uploaded(agent, client, CONTENT, "data.bin", "application/x-data"))
    head = await client.head(url)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))
    assert head.headers["accept-ranges"] == "bytes"
    tag = head.headers["etag"]
    assert await bodies(client, url, "bytes=0-9") == (206, CONTENT[:10], f"bytes 0-9/{size}")
    assert await bodies(client, url, f"bytes={size - 5}-") == (206, CONTENT[-5:], f"bytes {size - 5}-{size - 1}/{size}")
    assert await bodies(client, url, "bytes=-5") == (206, CONTENT[-5:], f"bytes {size - 5}-{size - 1}/{size}")
    assert await bodies(client, url, f"bytes=10-{size * 9}") == (206, CONTENT[10:], f"bytes 10-{size - 1}/{size}")
    assert await bodies(client, url, f"bytes={size}-") == (416, b"", f"bytes */{size}")
    assert await bodies(client, url, "bytes=-0") == (416, b"", f"bytes */{size}")
    for whole in ("bytes=9-0", "bytes=a-b", "lines=1-2", "bytes=0-1,4-5", "bytes=-"):
        assert await bodies(client, url, whole) == (200, CONTENT, None)
    assert (await bodies(client, url, "bytes=0-9", **{"If-Range": tag}))[0] == 206
    assert (await bodies(client, url, "bytes=0-9", **{"If-Range": '"other"'}))[0] == 200
    assert (await client.get(url, headers={"If-None-Match": tag})).status_code == 304


async def test_a_link_names_one_file_for_a_quarter_of_an_hour(
    daimon: Daimon, agent: Agent, client: httpx2.AsyncClient
) -> None:
    assert daimon.clock is not None
    first = await uploaded(agent, client, b"first", "a.txt", "text/plain")
    second = await uploaded(agent, client, b"second", "b.txt", "text/plain")
    url = await link(agent, first)
    handle, expires, signature = url.rpartition("/")[2].split(".")
    base = url.rpartition("/")[0]
    for forged in (
        f"{second}.{expires}.{signature}",
        f"{handle}.{int(expires) + 1}.{signature}",
        f"{handle}.{expires}.{signature[:-1]}{'A' if signature[-1] != 'A' else 'B'}",
        f"{handle}.{expires}.",
        handle,
        "x" * 3000,
    ):
        answer = await client.get(f"{base}/{forged}")
        assert (answer.status_code, answer.json()["code"]) == (404, "FILE_UNKNOWN")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert (await client.request(method, url)).status_code == 405
    daimon.clock.move(MINUTES * 60 - 1)
    assert (await client.get(url)).content == b"first"
    daimon.clock.move(2)
    answer = await client.get(url)
    assert (answer.status_code, answer.json()["code"]) == (410, "FILE_EXPIRED")


async def test_a_link_ends_with_the_inbox_and_with_the_account(
    daimon: Daimon, agent: Agent, client: httpx2.AsyncClient
) -> None:
    handle = await uploaded(agent, client, b"x", "a.txt", "text/plain")
    sent = await agent.do("send_email", inbox=ROBO, to=ROBO, subject="s", body="b", attachments=[handle])
    [file] = (await agent.do("get_message", message_id=sent["id"]))["attachments"]
    of_mail, of_upload = await link(agent, file["id"]), await link(agent, handle)
    await agent.do("delete_inbox", inbox=ROBO)
    assert (await client.get(of_mail)).status_code == 404
    assert (await client.get(of_upload)).status_code == 200


async def test_no_file_is_a_page_of_ours(agent: Agent, client: httpx2.AsyncClient) -> None:
    script = b"<script>alert(1)</script>"
    for name, kind in (("a.html", "text/html"), ("a.svg", "image/svg+xml"), ("a.xml", "application/xml")):
        answer = await client.get(await link(agent, await uploaded(agent, client, script, name, kind)))
        assert answer.content == script
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment;")


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("a b.txt", 'attachment; filename="a b.txt"'),
        ('a"b\\c.txt', "attachment; filename=\"a_b_c.txt\"; filename*=UTF-8''a%22b%5Cc.txt"),
        ("résumé.pdf", "attachment; filename=\"r_sum_.pdf\"; filename*=UTF-8''r%C3%A9sum%C3%A9.pdf"),
        ("a\r\nX: y", "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
        ("50%.txt", "attachment; filename=\"50_.txt\"; filename*=UTF-8''50%25.txt"),
    ],
)
def test_names_in_headers(filename: str, header: str) -> None:
    assert disposition(filename) == header


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("text/plain; charset=utf-8", "text/plain"),
        ("APPLICATION/PDF", "application/pdf"),
        ("text/html", "application/octet-stream"),
        ("application/xhtml+xml", "application/octet-stream"),
        ("text/javascript", "application/octet-stream"),
        ("text/plain\r\nX: y", "application/octet-stream"),
        ("nonsense", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_types_in_headers(given: str, shown: str) -> None:
    assert shown_type(given) == shown


# -- uploads ----------------------------------------------------------------------------------------------------------


async def test_an_upload_link_works_once(agent: Agent, client: httpx2.AsyncClient) -> None:
    made = await agent.do("upload_attachment", filename="../data.csv")
    assert made["filename"] == "data.csv"
    waiting = await agent.call("get_attachment", attachment_id=made["id"])
    assert "not uploaded yet" in waiting.text
    early = await agent.call("send_email", inbox=ROBO, to=OTHER, subject="s", body="b", attachments=[made["id"]])
    assert (early.error, early.envelope["fields"][0]["field"]) == ("INVALID_REQUEST", "attachments.0.attachment_id")
    answer = await client.put(made["upload_url"], content=b"x,y")
    assert answer.status_code == 201
    said = answer.json()["result"]
    assert (said["id"], said["size"], said["content_type"]) == (made["id"], 3, "text/csv")
    again = await client.post(made["upload_url"], content=b"other")
    assert (again.status_code, again.json()["code"]) == (410, "FILE_USED")
    assert (await client.get(await link(agent, made["id"]))).content == b"x,y"


@pytest.mark.parametrize(
    ("asked", "said", "kept"),
    [
        (None, "application/pdf", "application/pdf"),
        ("text/markdown", "application/pdf", "text/markdown"),
        (None, "application/x-www-form-urlencoded", "text/plain"),
        (None, None, "text/plain"),
        (None, "text/html; charset=utf-8", "text/html"),
        (None, "x", "text/plain"),
    ],
)
async def test_whose_word_counts_for_the_type(
    agent: Agent, client: httpx2.AsyncClient, asked: str | None, said: str | None, kept: str
) -> None:
    more = {"content_type": asked} if asked else {}
    made = await agent.do("upload_attachment", filename="a.txt", **more)
    headers = {"Content-Type": said} if said else {}
    answer = await client.put(made["upload_url"], content=b"x", headers=headers)
    assert answer.json()["result"]["content_type"] == kept


async def test_a_form_with_one_file(agent: Agent, client: httpx2.AsyncClient) -> None:
    made = await agent.do("upload_attachment", filename="report.pdf")
    large = b"x" * (LIMIT - 1)
    answer = await client.post(
        made["upload_url"], data={"note": "y"}, files={"file": ("other.bin", large, "application/pdf")}
    )
    assert answer.status_code == 201
    said = answer.json()["result"]
    assert (said["filename"], said["content_type"], said["size"]) == ("report.pdf", "application/pdf", len(large))


async def test_a_form_with_none_or_two_files_is_refused_and_the_link_still_works(
    agent: Agent, client: httpx2.AsyncClient
) -> None:
    url = (await agent.do("upload_attachment", filename="a.txt"))["upload_url"]
    two = [("a", ("a.txt", b"1", "text/plain")), ("b", ("b.txt", b"2", "text/plain"))]
    boundary = {"Content-Type": "multipart/form-data; boundary=x"}
    no_file = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
    for answer in (
        await client.post(url, files=two),
        await client.post(url, content=no_file, headers=boundary),
        await client.post(url, content=b"nonsense", headers=boundary),
        await client.post(url, content=b"1", headers={"Content-Type": "multipart/form-data"}),
    ):
        assert (answer.status_code, answer.json()["error"]) == (422, "INVALID_REQUEST")
    assert (await client.put(url, content=b"1")).status_code == 201


async def test_no_more_is_read_than_a_message_may_have(agent: Agent, client: httpx2.AsyncClient) -> None:
    url = (await agent.do("upload_attachment", filename="a.bin"))["upload_url"]
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 50 * LIMIT:
            sent += 10_000
            yield b"x" * 10_000
            await asyncio.sleep(0)

    for attempt in ("announced", "chunks", "form"):
        try:
            match attempt:
                case "announced":
                    answer = await client.put(url, content=b"x" * (LIMIT + 1))
                case "chunks":
                    answer = await client.put(url, content=endless())
                case _:
                    answer = await client.post(url, files={"file": ("a.bin", b"x" * (LIMIT + 1), "application/pdf")})
        except httpx2.NetworkError:  # it hung up on us while we were still sending
            continue
        assert (answer.status_code, answer.json()["code"]) == (413, "FILE"), attempt
    assert (await client.put(url, content=b"x" * LIMIT)).status_code == 201


async def test_an_upload_link_ends(daimon: Daimon, agent: Agent, client: httpx2.AsyncClient) -> None:
    assert daimon.clock is not None
    made = await agent.do("upload_attachment", filename="a.txt")
    daimon.clock.move(MINUTES * 60 + 1)
    answer = await client.put(made["upload_url"], content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (410, "FILE_EXPIRED")
    await daimon.operations.uploading.sweep()
    answer = await client.put(made["upload_url"], content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (404, "FILE_UNKNOWN")
    assert (await client.put(daimon.url + "/uploads/" + "x" * 32, content=b"x")).status_code == 404


async def test_an_upload_cut_off_halfway_may_be_tried_again(
    daimon: Daimon, agent: Agent, client: httpx2.AsyncClient
) -> None:
    made = await agent.do("upload_attachment", filename="a.bin")
    url = urlsplit(str(made["upload_url"]))
    path, port = url.path, url.port
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000\r\n\r\n".encode() + b"x" * 20_000)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    # Until the server has seen that nobody is there, the link is taken.
    async with asyncio.timeout(10):
        while (answer := await client.put(made["upload_url"], content=b"whole")).status_code == 410:
            pass
    assert answer.status_code == 201
    assert (await client.get(await link(agent, made["id"]))).content == b"whole"


async def test_one_of_many_at_once_wins(agent: Agent, client: httpx2.AsyncClient) -> None:
    made = await agent.do("upload_attachment", filename="a.txt")
    contents = [f"{number}".encode() for number in range(6)]
    answers = await asyncio.gather(*(client.put(made["upload_url"], content=each) for each in contents))
    won = [content for content, answer in zip(contents, answers, strict=True) if answer.status_code == 201]
    assert len(won) == 1
    assert {answer.status_code for answer in answers} == {201, 410}
    assert (await client.get(await link(agent, made["id"]))).content == won[0]


async def begun(agent: Agent) -> asyncio.StreamWriter:
    """An upload that has begun and does not go on."""
    url = urlsplit(str((await agent.do("upload_attachment", filename="a.bin"))["upload_url"]))
    reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
    head = f"PUT {url.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    assert b"100" in await reader.readline()  # it is being read
    return writer


@pytest.mark.parametrize("limit", ["AT_ONCE", "UPLOADS_OF_ACCOUNT"])
async def test_too_many_at_once_are_asked_to_come_again(
    agent: Agent, client: httpx2.AsyncClient, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit == "AT_ONCE":
        monkeypatch.setattr("daimon_mcp.faces.web.files.AT_ONCE", UPLOADS_OF_ACCOUNT - 1)
    writers = [await begun(agent) for _ in range(UPLOADS_OF_ACCOUNT - (limit == "AT_ONCE"))]
    last = await agent.do("upload_attachment", filename="a.bin")
    answer = await client.put(last["upload_url"], content=b"x")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(10):
        while (answer := await client.put(last["upload_url"], content=b"x")).status_code == 503:
            pass
    assert answer.status_code == 201


async def test_one_account_leaves_room_for_another(daimon: Daimon, agent: Agent, client: httpx2.AsyncClient) -> None:
    writers = [await begun(agent) for _ in range(UPLOADS_OF_ACCOUNT)]
    core = daimon.operations.core
    number = await core.database.write(
        lambda tx: accounts.insert_account(tx, id="acc_other", kind="agent", now=core.clock.now())
    )
    request = UploadAttachment(filename="a.txt")
    made = await daimon.operations.uploading.upload_attachment(Actor(number, "acc_other"), request)
    assert (await client.put(made.result["upload_url"], content=b"x")).status_code == 201
    for writer in writers:
        writer.close()
        await writer.wait_closed()


async def test_an_upload_that_hardly_moves_is_ended(
    agent: Agent, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daimon_mcp.faces.web.bodies.GRACE", 0.2)
    url = (await agent.do("upload_attachment", filename="a.bin"))["upload_url"]
    parts = urlsplit(str(url))
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.port)
    writer.write(f"PUT {parts.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n\r\nslow".encode())
    assert b"408" in await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    await writer.wait_closed()
    assert (await client.put(url, content=b"x")).status_code == 201


@pytest.fixture
async def roomy(tmp_path: Path) -> AsyncGenerator[Daimon]:
    """A server that takes files of some megabytes."""
    sections = {**SECTIONS, "smtp": {"max_message_bytes": 20_000_000}}
    async with running(tmp_path / "roomy", sections, listeners=True) as made:
        yield made


async def test_what_is_not_taken_waits_in_its_place_and_ends(
    roomy: Daimon, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(8_000_000)
    loop = asyncio.get_running_loop()
    async with roomy.agent() as agent:
        url = await link(agent, await uploaded(agent, client, content, "a.bin", "application/x-data"))
        idle: list[socket.socket] = []
        for _ in range(DOWNLOADS_OF_ACCOUNT):
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            made.setblocking(False)
            await loop.sock_connect(made, ("127.0.0.1", urlsplit(url).port))
            await loop.sock_sendall(made, f"GET {urlsplit(url).path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert b"200" in await loop.sock_recv(made, 20)
            idle.append(made)
        answer = await client.get(url)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        idle.pop().close()
        async with asyncio.timeout(10):
            while (answer := await client.get(url)).status_code == 503:
                pass
        assert answer.content == content
        for each in idle:
            each.close()
        # One that stays, and takes nothing, is ended.
        monkeypatch.setattr("daimon_mcp.faces.web.bodies.GRACE", 0.2)
        monkeypatch.setattr("daimon_mcp.faces.web.bodies.SLOWEST", 1_000_000_000)
        monkeypatch.setattr("daimon_mcp.faces.web.files.AT_ONCE", 1)
        async with asyncio.timeout(10):
            while (await client.head(url)).status_code == 503:  # those that were closed have left
                pass
        with socket.socket() as stays:
            stays.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stays.setblocking(False)
            await loop.sock_connect(stays, ("127.0.0.1", urlsplit(url).port))
            await loop.sock_sendall(stays, f"GET {urlsplit(url).path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert b"200" in await loop.sock_recv(stays, 20)
            async with asyncio.timeout(10):
                while (await client.head(url)).status_code == 503:
                    pass


async def test_parts_of_a_file_are_taken_out_of_the_mail_once(
    daimon: Daimon, agent: Agent, client: httpx2.AsyncClient
) -> None:
    handle = await uploaded(agent, client, CONTENT, "data.bin", "application/x-data")
    sent = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="s", body="b", attachments=[handle])
    [file] = (await agent.do("get_message", message_id=sent["id"]))["attachments"]
    url = await link(agent, file["id"])
    assert await bodies(client, url, "bytes=0-9") == (206, CONTENT[:10], f"bytes 0-9/{len(CONTENT)}")
    database = daimon.operations.core.database
    rows = await database.fetch("SELECT hash, data FROM blobs")
    put = Statement("UPDATE blobs SET data = :data WHERE hash = :hash", "")
    await database.write(lambda tx: [tx.run(put, hash=hash, data=b"lost") for hash, _ in rows])
    assert (await bodies(client, url, "bytes=10-19"))[1] == CONTENT[10:20]
    await database.write(lambda tx: [tx.run(put, hash=hash, data=data) for hash, data in rows])


async def test_a_large_form_lies_with_the_mail_and_not_in_the_folder_for_temporary_files(
    roomy: Daimon, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with roomy.agent() as agent:
        url = (await agent.do("upload_attachment", filename="a.bin"))["upload_url"]
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
        answer = await client.post(url, files={"file": ("a.bin", bytes(3_000_000), "application/x-data")})
        assert answer.status_code == 201


@pytest.mark.parametrize("how", ["plain", "form"])
async def test_a_full_disk_is_said_to_be_one(roomy: Daimon, client: httpx2.AsyncClient, how: str) -> None:
    async with roomy.agent() as agent:
        url = (await agent.do("upload_attachment", filename="a.bin"))["upload_url"]
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        try:
            if how == "plain":
                answer = await client.put(url, content=bytes(3_000_000))
            else:
                answer = await client.post(url, files={"file": ("a.bin", bytes(3_000_000), "application/x-data")})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (answer.status_code, answer.json()["error"]) == (503, "STORE_UNAVAILABLE")
        assert (await client.put(url, content=b"x")).status_code == 201


async def test_another_sites_page_and_another_name_get_nothing(agent: Agent, client: httpx2.AsyncClient) -> None:
    url = await link(agent, await uploaded(agent, client, b"x", "a.txt", "text/plain"))
    assert (await client.get(url, headers={"Origin": "https://evil.example"})).status_code == 403
    assert (await client.get(url, headers={"Host": "evil.example"})).status_code == 421


async def test_nothing_of_a_link_is_logged(
    daimon: Daimon, agent: Agent, client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="daimon_mcp")
    made = await agent.do("upload_attachment", filename="a.txt")
    await client.put(made["upload_url"], content=b"x")
    url = await link(agent, made["id"])
    await client.get(url)
    ours = "\n".join(each.getMessage() for each in caplog.records if each.name.startswith(("daimon_mcp", "uvicorn")))
    for secret in (url.rpartition(".")[2], made["upload_url"].rpartition("/")[2]):
        assert secret not in ours
    rows = await daimon.operations.core.database.fetch("SELECT * FROM uploads")
    assert made["upload_url"].rpartition("/")[2] not in str(rows)
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", made["upload_url"].rpartition("/")[2])


async def test_a_letters_file_with_a_hostile_name(daimon: Daimon, agent: Agent, client: httpx2.AsyncClient) -> None:
    raw = (
        b"From: a@example.com\r\nTo: robo@agents.localhost\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n"
        b"Content-Disposition: attachment;\r\n"
        b" filename*=utf-8''%0D%0ASet-Cookie%3A%20a%3D%22b%2F..%2F%E2%80%AEx.html\r\n\r\n"
        b"<p>x\r\n--b--\r\n"
    )
    [message] = await arrive(daimon, ROBO, content=raw)
    [file] = (await agent.do("get_message", message_id=message))["attachments"]
    answer = await client.get(await link(agent, file["id"]))
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-disposition"].startswith("attachment;")
