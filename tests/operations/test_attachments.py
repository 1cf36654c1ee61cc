"""Files by handle: who sees them, what of their text, sending and passing them on, the files folder."""

from __future__ import annotations

import email
import email.policy
import os
from collections.abc import AsyncGenerator, Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon, MovableClock, running
from tests.support.post import OTHER, ROBO, arrive

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.clock import DAY, MINUTE, SECOND
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.faces.mcp.tool import Call
from daimon_mcp.faces.mcp.tools import ALL
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.operations.requests import read
from daimon_mcp.operations.uploading import MOST_UPLOADS, MOST_UPLOADS_OF_INBOX, UPLOAD_LIFETIME
from daimon_mcp.store import accounts

FREE_SENDS: dict[str, Any] = {
    "limits": {"free": {"sends_per_month": 9000, "sends_per_day": 9000, "sends_per_minute": 9000}}
}
WORDS = "\n".join(f"Line {number} of the report says nothing new." for number in range(400))


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    sections = {**FREE_SENDS, "attachments": {"folder_max_bytes": 100_000}}
    async with running(tmp_path / "data", sections, clock=MovableClock()) as made:
        yield made


def letter(*files: tuple[str, str, bytes]) -> bytes:
    made = EmailMessage(policy=email.policy.SMTP)
    made["From"], made["To"], made["Subject"] = "Ann <ann@example.com>", ROBO, "Files"
    made.set_content("See the files.")
    for name, kind, content in files:
        main, _, sub = kind.partition("/")
        made.add_attachment(content, maintype=main, subtype=sub, filename=name)
    return made.as_bytes()


async def handles(daimon: Daimon, agent: Agent, *files: tuple[str, str, bytes]) -> list[str]:
    """The handles of files that came by mail."""
    [message] = await arrive(daimon, ROBO, content=letter(*files))
    return [each["id"] for each in (await agent.do("get_message", message_id=message))["attachments"]]


def folder_of(daimon: Daimon) -> Path:
    return daimon.operations.core.policy.files_folder


async def run(daimon: Daimon, actor: Actor, tool: str, **arguments: Any) -> dict[str, Any]:
    spec = next(each for each in ALL if each.name == tool)
    call: Call[Any] = Call(daimon.operations, actor, read(spec.request, arguments), None)
    return (await spec.run(call)).result


async def refused(daimon: Daimon, actor: Actor, tool: str, **arguments: Any) -> dict[str, Any]:
    with pytest.raises(Refused) as raised:
        await run(daimon, actor, tool, **arguments)
    return await daimon.refusal(raised.value, actor)


async def stranger(daimon: Daimon) -> Actor:
    core = daimon.operations.core
    number = await core.database.write(
        lambda tx: accounts.insert_account(tx, id="acc_stranger", kind="agent", now=core.clock.now())
    )
    actor = Actor(number, "acc_stranger")
    await daimon.operations.inboxes.create_inbox(actor, CreateInbox(username="stranger"))
    return actor


async def inbox_key(daimon: Daimon, agent: Agent, username: str) -> Actor:
    made = await agent.do("create_inbox", username=username)
    return await daimon.operations.credentials.authenticate(made["api_key"])


async def put(daimon: Daimon, agent: Agent, name: str, content: bytes) -> str:
    """A file of the folder, as an upload."""
    folder_of(daimon).mkdir(exist_ok=True)
    (folder_of(daimon) / name).write_bytes(content)
    return (await agent.do("upload_attachment", path=name))["id"]


async def files_sent(daimon: Daimon, message: str) -> list[tuple[str, str, bytes]]:
    """Name, type and content of the files in a message as it left."""
    core = daimon.operations.core
    [(blob,)] = await core.database.fetch("SELECT blob_hash FROM messages WHERE id = ?", (message,))
    parsed = email.message_from_bytes(await core.blobs.get(core.database, blob), policy=email.policy.default)
    return [
        (part.get_filename() or "", part.get_content_type(), part.get_payload(decode=True) or b"")
        for part in parsed.walk()
        if part.get_content_disposition() == "attachment"
    ]  # pyright: ignore[reportReturnType]


# -- reading ----------------------------------------------------------------------------------------------------------


class Reads:
    """Reads every file as text."""

    async def extract(self, content: bytes, content_type: str, filename: str) -> Any:
        from daimon_mcp.extraction.service import Extracted

        return Extracted("ok", content.decode(), facts={"pages": 3})


async def read_all(daimon: Daimon) -> None:
    while await daimon.operations.extracting.read_next(Reads()):
        pass


async def test_what_there_is_of_a_file(daimon: Daimon, agent: Agent) -> None:
    [handle] = await handles(daimon, agent, ("report.txt", "text/plain", b"Hello"))
    waiting = await agent.do("get_attachment", attachment_id=handle)
    assert (waiting["text_status"], waiting["extracted_text"]) == ("pending", None)
    await read_all(daimon)
    answer = await agent.call("get_attachment", attachment_id=handle)
    found = answer.result
    assert (found["filename"], found["content_type"], found["size"]) == ("report.txt", "text/plain", 5)
    assert found["sha256"] == "185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969"
    assert (found["text_status"], found["extracted_text"], found["facts"]) == ("ok", "Hello", {"pages": 3})
    assert found["message_id"].startswith("msg_")
    assert "download_url" not in found  # nobody listens
    outside = answer.text.split("<mail-")[0] + answer.text.split("</mail-")[1]
    assert "Hello" in answer.text
    assert "Hello" not in outside
    assert "report.txt" not in outside
    [shown] = (await agent.do("get_message", message_id=found["message_id"]))["attachments"]
    assert (shown["text_status"], shown["est_tokens"]) == ("ok", 2)


async def test_a_long_text_is_read_window_by_window(daimon: Daimon, agent: Agent) -> None:
    [handle] = await handles(daimon, agent, ("report.txt", "text/plain", WORDS.encode()))
    await read_all(daimon)
    text, offset, windows = "", 0, 0
    while offset is not None:
        page = await agent.do("get_attachment", attachment_id=handle, max_tokens=500, offset=offset)
        text += page["extracted_text"]
        assert page["truncated"] == (page["next_offset"] is not None)
        offset, windows = page["next_offset"], windows + 1
    assert text == WORDS
    assert windows > 5


async def test_mail_is_found_by_the_text_of_its_files(daimon: Daimon, agent: Agent) -> None:
    [handle] = await handles(daimon, agent, ("report.txt", "text/plain", b"The walrus was paul"))
    assert not (await agent.do("search_messages", inbox=ROBO, query="walrus"))["messages"]
    await read_all(daimon)
    [found] = (await agent.do("search_messages", inbox=ROBO, query="walrus"))["messages"]
    assert found["id"] == (await agent.do("get_attachment", attachment_id=handle))["message_id"]


async def test_no_text_is_waited_for_where_none_can_come(daimon: Daimon, agent: Agent) -> None:
    [handle] = await handles(daimon, agent, ("picture.png", "image/png", b"\x89PNG"))
    answer = await agent.call("get_attachment", attachment_id=handle)
    assert (answer.result["text_status"], answer.result["extracted_text"]) == ("none", None)
    assert "No text is read out of it" in answer.text


# -- who sees what ----------------------------------------------------------------------------------------------------


BY_HANDLE: dict[str, Callable[[str], dict[str, Any]]] = {
    "get_attachment": lambda handle: {"attachment_id": handle},
    "send_email": lambda handle: {"to": OTHER, "subject": "s", "body": "b", "attachments": [handle]},
    "create_draft": lambda handle: {"subject": "s", "attachments": [{"attachment_id": handle}]},
}


async def test_a_foreign_handle_answers_like_one_that_nobody_has(daimon: Daimon, agent: Agent) -> None:
    [of_mail] = await handles(daimon, agent, ("a.txt", "text/plain", b"A"))
    uploaded = await put(daimon, agent, "b.txt", b"B")
    nobodys = "att_" + "0" * 26
    actors = [await stranger(daimon), await inbox_key(daimon, agent, "third")]
    for actor in actors:
        await daimon.upgrade(actor=actor)
        for tool, words in BY_HANDLE.items():
            unknown = await refused(daimon, actor, tool, **words(nobodys))
            assert unknown["error"] == "ATTACHMENT_NOT_FOUND"
            for handle in (of_mail, uploaded):
                assert await refused(daimon, actor, tool, **words(handle)) == unknown


async def test_a_key_of_one_inbox_uses_its_own_uploads(daimon: Daimon, agent: Agent) -> None:
    third = await inbox_key(daimon, agent, "third")
    home = folder_of(daimon) / third.account_id / (await agent.do("get_inbox", inbox="third@agents.localhost"))["id"]
    home.mkdir(parents=True)
    (home / "mine.txt").write_bytes(b"mine")
    made = await run(daimon, third, "upload_attachment", path="mine.txt")
    assert (await run(daimon, third, "get_attachment", attachment_id=made["id"]))["size"] == 4
    assert (await agent.do("get_attachment", attachment_id=made["id"]))["size"] == 4  # the account has it too


async def test_a_session_that_only_reads_neither_saves_nor_uploads(daimon: Daimon, agent: Agent) -> None:
    [handle] = await handles(daimon, agent, ("a.txt", "text/plain", b"A"))
    async with daimon.agent(read_only=True) as reader:
        names = {tool.name for tool in (await reader.client.list_tools()).tools}
        assert "get_attachment" in names
        assert "upload_attachment" not in names
        assert (await reader.do("get_attachment", attachment_id=handle))["size"] == 1
        answer = await reader.call("get_attachment", attachment_id=handle, save=True)
        assert (answer.error, answer.envelope["code"]) == ("FORBIDDEN", "READ_ONLY")
    assert not folder_of(daimon).exists()


# -- sending ----------------------------------------------------------------------------------------------------------


async def test_files_are_sent_by_handle(daimon: Daimon, agent: Agent) -> None:
    [of_mail] = await handles(daimon, agent, ("a.txt", "text/plain", b"from mail"))
    uploaded = await put(daimon, agent, "b.csv", b"x,y")
    inline = {"filename": "c.bin", "content": "aGk="}
    given = [of_mail, {"attachment_id": uploaded, "filename": "../table.csv"}, inline]
    sent = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="s", body="b", attachments=given)
    assert await files_sent(daimon, sent["id"]) == [
        ("a.txt", "text/plain", b"from mail"),
        ("table.csv", "text/csv", b"x,y"),
        ("c.bin", "application/octet-stream", b"hi"),
    ]


async def test_replies_and_forwards_carry_single_files(daimon: Daimon, agent: Agent) -> None:
    first, second = await handles(daimon, agent, ("a.txt", "text/plain", b"one"), ("b.txt", "text/plain", b"two"))
    message = (await agent.do("get_attachment", attachment_id=first))["message_id"]
    sent = await agent.do(
        "forward_message", message_id=message, to=OTHER, include_attachments=False, attachments=[second]
    )
    assert await files_sent(daimon, sent["id"]) == [("b.txt", "text/plain", b"two")]
    [came] = (await agent.do("list_messages", inbox=OTHER))["messages"]
    answer = await agent.do("reply_to_message", message_id=came["id"], body="b", attachments=[first])
    assert await files_sent(daimon, answer["id"]) == [("a.txt", "text/plain", b"one")]


async def test_the_same_content_under_another_handle_is_the_same_request(daimon: Daimon, agent: Agent) -> None:
    words: dict[str, Any] = {"inbox": ROBO, "to": OTHER, "subject": "s", "body": "b", "client_id": "once"}
    one, same = await put(daimon, agent, "a.txt", b"content"), await put(daimon, agent, "a.txt", b"content")
    assert one != same
    other = await put(daimon, agent, "a.txt", b"other")
    sent = await agent.do("send_email", **words, attachments=[one])
    assert (await agent.do("send_email", **words, attachments=[{"attachment_id": same}]))["id"] == sent["id"]
    assert (await agent.call("send_email", **words, attachments=[other])).error == "IDEMPOTENCY_CONFLICT"
    # And without a client_id, it is the same mail again.
    plain = {**words, "client_id": None, "subject": "t"}
    first = await agent.do("send_email", **plain, attachments=[one])
    assert (await agent.do("send_email", **plain, attachments=[same]))["duplicate_of"] == first["id"]


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({}, "attachments.0", "attachment_id"),
        ({"attachment_id": "att_" + "0" * 26, "content": "aGk="}, "attachments.0", "attachment_id"),
        ({"content": "aGk="}, "attachments.0.filename", "required"),
        ({"filename": "a.txt", "content": "!"}, "attachments.0.content", "base64"),
        ("msg_" + "0" * 26, "attachments.0.attachment_id", "not the handle"),
        (7, "attachments.0", "object"),
    ],
)
async def test_what_is_no_file_is_named(agent: Agent, given: Any, field: str, words: str) -> None:
    answer = await agent.call("send_email", inbox=ROBO, to=OTHER, subject="s", body="b", attachments=[given])
    assert answer.error == "INVALID_REQUEST"
    [problem] = answer.envelope["fields"]
    assert problem["field"] == field
    assert words in problem["problem"]


async def test_a_handle_that_names_nothing_names_its_field(agent: Agent) -> None:
    given = [{"filename": "a", "content": ""}, "att_" + "0" * 26]
    answer = await agent.call("send_email", inbox=ROBO, to=OTHER, subject="s", body="b", attachments=given)
    assert answer.error == "ATTACHMENT_NOT_FOUND"
    assert answer.envelope["fields"][0]["field"] == "attachments.1.attachment_id"


async def test_files_by_handle_count_against_the_size_of_the_mail(tmp_path: Path) -> None:
    sections = {**FREE_SENDS, "smtp": {"max_message_bytes": 100_000}}
    async with running(tmp_path / "small", sections) as daimon, daimon.agent() as agent:
        await agent.do("create_inbox", username="robo")
        handle = await put(daimon, agent, "a.bin", b"x" * 60_000)
        words: dict[str, Any] = {"inbox": ROBO, "to": ROBO, "subject": "s", "body": "b"}
        assert (await agent.call("send_email", **words, attachments=[handle, handle])).error == "MESSAGE_TOO_LARGE"
        assert (await agent.do("send_email", **words, attachments=[handle]))["status"] == "delivered"
        (folder_of(daimon) / "big.bin").write_bytes(b"x" * 100_001)
        answer = await agent.call("upload_attachment", path="big.bin")
        assert (answer.error, answer.envelope["code"]) == ("MESSAGE_TOO_LARGE", "FILE")


async def test_a_draft_keeps_a_handle_until_it_is_sent(daimon: Daimon, agent: Agent) -> None:
    clock = daimon.clock
    assert clock is not None
    kept, dropped = await put(daimon, agent, "a.txt", b"kept"), await put(daimon, agent, "b.txt", b"dropped")
    draft = await agent.do("create_draft", inbox=ROBO, to=OTHER, subject="s", body="b", attachments=[kept])
    assert draft["attachments"] == [{"id": kept, "filename": "a.txt", "content_type": "text/plain"}]
    clock.move((UPLOAD_LIFETIME + DAY) / SECOND)
    await daimon.operations.uploading.sweep()
    assert (await agent.call("get_attachment", attachment_id=dropped)).error == "ATTACHMENT_NOT_FOUND"
    sent = await agent.do("send_draft", draft_id=draft["id"])
    assert await files_sent(daimon, sent["id"]) == [("a.txt", "text/plain", b"kept")]
    await daimon.operations.uploading.sweep()
    assert (await agent.call("get_attachment", attachment_id=kept)).error == "ATTACHMENT_NOT_FOUND"


# -- uploads and the files folder -------------------------------------------------------------------------------------


async def test_without_a_listener_there_is_no_url(agent: Agent) -> None:
    answer = await agent.call("upload_attachment", filename="a.txt")
    assert answer.error == "INVALID_REQUEST"
    assert answer.envelope["fields"][0]["field"] == "path"


async def test_an_account_cannot_fill_the_store_with_uploads(daimon: Daimon, agent: Agent) -> None:
    assert daimon.clock is not None
    await put(daimon, agent, "a.txt", b"a")
    for _ in range(MOST_UPLOADS - 1):
        await agent.do("upload_attachment", path="a.txt")
    daimon.clock.move(60)
    answer = await agent.call("upload_attachment", path="a.txt")
    assert (answer.error, answer.envelope["code"]) == ("RATE_LIMIT_EXCEEDED", "UPLOADS_WAIT")
    # Until the first of them ends, which is not at the end of any link.
    assert UPLOAD_LIFETIME // SECOND - 120 <= answer.envelope["retry_after"] <= UPLOAD_LIFETIME // SECOND - 60
    daimon.clock.move((UPLOAD_LIFETIME + MINUTE) / SECOND)
    await agent.do("upload_attachment", path="a.txt")


async def test_an_inbox_uses_up_its_own_share_of_uploads(daimon: Daimon, agent: Agent) -> None:
    third = await inbox_key(daimon, agent, "third")
    home = folder_of(daimon) / third.account_id / (await agent.do("get_inbox", inbox="third@agents.localhost"))["id"]
    home.mkdir(parents=True)
    (home / "mine.txt").write_bytes(b"mine")
    for _ in range(MOST_UPLOADS_OF_INBOX):
        await run(daimon, third, "upload_attachment", path="mine.txt")
    assert (await refused(daimon, third, "upload_attachment", path="mine.txt"))["code"] == "UPLOADS_WAIT"
    await put(daimon, agent, "a.txt", b"a")
    await agent.do("upload_attachment", path="a.txt", inbox=ROBO)


async def test_saved_files_lie_in_the_folder_and_overwrite_nothing(daimon: Daimon, agent: Agent) -> None:
    one, two, same = await handles(
        daimon, agent, ("a.txt", "text/plain", b"1"), ("a.txt", "text/plain", b"2"), ("a.txt", "text/plain", b"1")
    )
    folder = folder_of(daimon)
    paths = [
        Path((await agent.do("get_attachment", attachment_id=each, save=True))["path"]) for each in (one, two, same)
    ]
    assert paths == [folder / "a.txt", folder / "a (2).txt", folder / "a.txt"]
    assert [path.read_bytes() for path in paths] == [b"1", b"2", b"1"]
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    assert sorted(each.name for each in folder.iterdir()) == ["a (2).txt", "a.txt"]


@pytest.mark.parametrize(
    "name", ["../../evil.txt", "/etc/evil.txt", "..", ".bashrc", "a\\..\\b.txt", "x" * 400, "a\nb"]
)
async def test_a_strangers_name_leads_nowhere_else(daimon: Daimon, agent: Agent, name: str) -> None:
    made = letter(("PLACEHOLDER", "application/octet-stream", b"1")).replace(
        b'filename="PLACEHOLDER"', b"filename*=utf-8''" + "".join(f"%{byte:02X}" for byte in name.encode()).encode()
    )
    [message] = await arrive(daimon, ROBO, content=made)
    [file] = (await agent.do("get_message", message_id=message))["attachments"]
    path = Path((await agent.do("get_attachment", attachment_id=file["id"], save=True))["path"])
    assert path.parent == folder_of(daimon)
    assert not path.name.startswith(".")
    assert path.read_bytes() == b"1"  # noqa: ASYNC240


async def test_a_link_in_the_folder_is_not_written_through(daimon: Daimon, agent: Agent, tmp_path: Path) -> None:
    [handle] = await handles(daimon, agent, ("a.txt", "text/plain", b"1"))
    folder_of(daimon).mkdir()
    target = tmp_path / "target"
    (folder_of(daimon) / "a.txt").symlink_to(target)
    path = (await agent.do("get_attachment", attachment_id=handle, save=True))["path"]
    assert path == str(folder_of(daimon) / "a (2).txt")
    assert not target.exists()


async def test_the_folder_holds_no_more_than_it_may(daimon: Daimon, agent: Agent) -> None:
    one, two = await handles(
        daimon, agent, ("a.bin", "application/x-a", b"1" * 60_000), ("b.bin", "application/x-a", b"2" * 60_000)
    )
    await agent.do("get_attachment", attachment_id=one, save=True)
    answer = await agent.call("get_attachment", attachment_id=two, save=True)
    assert answer.error == "INVALID_REQUEST"
    assert answer.envelope["fields"][0]["field"] == "save"
    assert [each.name for each in folder_of(daimon).iterdir()] == ["a.bin"]


async def test_each_account_fills_a_folder_of_its_own(daimon: Daimon, agent: Agent) -> None:
    [handle] = await handles(daimon, agent, ("a.bin", "application/x-a", b"1" * 60_000))
    other = await stranger(daimon)
    theirs = folder_of(daimon) / other.account_id
    theirs.mkdir(parents=True)
    (theirs / "a.bin").write_bytes(bytes(90_000))
    await agent.do("get_attachment", attachment_id=handle, save=True)
    mine = await run(daimon, other, "upload_attachment", path="a.bin")
    (theirs / "a.bin").write_bytes(bytes(90_001))
    answer = await refused(daimon, other, "get_attachment", attachment_id=mine["id"], save=True)
    assert answer["fields"][0]["field"] == "save"
    (theirs / "a.bin").unlink()
    saved = await run(daimon, other, "get_attachment", attachment_id=mine["id"], save=True)
    assert saved["path"] == str(theirs / "a.bin")


async def test_only_files_inside_the_folder_are_taken(daimon: Daimon, agent: Agent, tmp_path: Path) -> None:
    folder = folder_of(daimon)
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_bytes(b"inside")
    (folder / "inside").symlink_to(folder / "sub" / "a.txt")
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (folder / "outside").symlink_to(secret)
    (folder / "away").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    other = await stranger(daimon)
    (folder / other.account_id).mkdir()
    (folder / other.account_id / "theirs.txt").write_bytes(b"theirs")
    (folder / "theirs").symlink_to(folder / other.account_id)
    for good in ("sub/a.txt", str(folder / "sub" / "a.txt"), "inside", "./sub/../sub/a.txt"):
        assert (await agent.do("upload_attachment", path=good))["size"] == 6
    for bad in (
        "../secret", "outside", "away/secret", str(secret), "pipe", "sub", ".", "none.txt", "sub/a.txt/x", "\0",
        f"{other.account_id}/theirs.txt", "theirs/theirs.txt", "../data/master.key", "../mail.db",
    ):  # fmt: skip
        answer = await agent.call("upload_attachment", path=bad)
        assert answer.error == "INVALID_REQUEST", bad
        assert answer.envelope["fields"][0]["field"] == "path"
    # Another account has a place of its own there.
    assert (await run(daimon, other, "upload_attachment", path="theirs.txt"))["size"] == 6
    assert (await refused(daimon, other, "upload_attachment", path="../sub/a.txt"))["error"] == "INVALID_REQUEST"
