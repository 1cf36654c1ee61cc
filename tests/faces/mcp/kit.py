"""What the MCP tests share: clients over every transport, raw JSON-RPC, mail from outside, every tool."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_MODERN_VERSION
from tests.support.daimon import Agent, Answer, Daimon

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.faces.mcp.server import MailServer
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.operations.keys import CreateKey
from daimon_mcp.store import accounts, inboxes

HANDSHAKES = tuple(HANDSHAKE_PROTOCOL_VERSIONS)
MODERN = LATEST_MODERN_VERSION
ERAS = ("legacy", MODERN)

FREE_SENDS: dict[str, Any] = {
    "limits": {
        "free": {"sends_per_month": 9000, "sends_per_day": 9000, "sends_per_minute": 9000, "smtp": True, "domains": 1}
    },
    "dns": {"nameservers": ["127.0.0.1:1"]},
}
"""Settings by which an account may send, and ask for a domain, without an operator; there is no DNS."""

SECRETS = ("dm_free_", "dm_live_", "smtp_secret_", "eyJ")
"""How everything begins that lets somebody in."""


# -- clients ---------------------------------------------------------------------------------------------------------


async def key(daimon: Daimon, inbox_no: int | None = None) -> str:
    """A new key of this machine's own account, or of one of its inboxes."""
    actor = await daimon.actor()
    inbox = None if inbox_no is None else await inboxes.by_no(daimon.operations.core.database, inbox_no)
    wanted = CreateKey(name="test", inbox=None if inbox is None else inbox.id)
    made = await daimon.operations.keys.create_key(actor, wanted)
    return made.result["api_key"]


async def stranger(daimon: Daimon, username: str = "stranger") -> tuple[str, str]:
    """Another account with an inbox of its own: its account key and its address."""
    core = daimon.operations.core
    public_id = f"acc_{username}"
    number = await core.database.write(
        lambda tx: accounts.insert_account(tx, id=public_id, kind="agent", now=core.clock.now())
    )
    made = await daimon.operations.inboxes.create_inbox(Actor(number, public_id), CreateInbox(username=username))
    return made.result["account_api_key"], made.result["address"]


def bearer(key: str | None) -> dict[str, str]:
    """The headers of a client that holds `key`."""
    return {} if key is None else {"Authorization": f"Bearer {key}"}


@asynccontextmanager
async def over_http(url: str, key: str | None, mode: str = MODERN, **options: Any) -> AsyncGenerator[Agent]:
    """The SDK's client on Streamable HTTP."""
    async with httpx2.AsyncClient(headers=bearer(key), timeout=30) as http:
        transport = streamable_http_client(f"{url}/mcp", http_client=http)
        async with Client(transport, mode=mode, **options) as client:
            yield Agent(client)


@asynccontextmanager
async def over_sse(url: str, key: str | None, mode: str = "legacy", **options: Any) -> AsyncGenerator[Agent]:
    """The SDK's client on HTTP with SSE."""
    async with Client(sse_client(f"{url}/sse", headers=bearer(key)), mode=mode, **options) as client:
        yield Agent(client)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a server in a process of its own: `folder`, free ports, and sends for everybody."""
    given = {
        "PATH": os.environ["PATH"],
        "DAIMON_DATA_DIR": str(folder),
        "DAIMON_HTTP__PORT": "0",
        "DAIMON_SMTP__INBOUND_PORT": "0",
        "DAIMON_SUBMISSION__PORT": "0",
        "DAIMON_SUBMISSION__TLS_PORT": "0",
        "DAIMON_LIMITS__FREE__SMTP": "true",
        "DAIMON_LIMITS__FREE__DOMAINS": "1",
        "DAIMON_DNS__NAMESERVERS": "127.0.0.1:1",
    }
    for period in ("MONTH", "DAY", "MINUTE"):
        given[f"DAIMON_LIMITS__FREE__SENDS_PER_{period}"] = "9000"
    return {**given, **more}


@asynccontextmanager
async def over_stdio(
    folder: Path, *arguments: str, mode: str = MODERN, environ: Mapping[str, str] | None = None, **options: Any
) -> AsyncGenerator[Agent]:
    """The SDK's client on the stdio of `daimon-mcp` in a process of its own."""
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "daimon_mcp", *arguments], env=environment(folder, **(environ or {}))
    )
    async with Client(command, mode=mode, **options) as client:
        yield Agent(client)


async def end_owner(folder: Path) -> None:
    """End the owner of a data folder in order, and wait until it is gone."""
    pid = int((folder / "daimon.lock").read_text().split()[0])
    os.kill(pid, signal.SIGTERM)
    with anyio.fail_after(20):
        while _is_alive(pid):  # noqa: ASYNC110 - it is no child of ours, so there is nothing to await
            await anyio.sleep(0.01)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# -- raw JSON-RPC ----------------------------------------------------------------------------------------------------

CLIENT = {"name": "wire", "version": "1"}


class Wire:
    """One end of a session, to say what the SDK's client would not."""

    def __init__(self, read: Any, write: Any, version: str) -> None:
        self._read = read
        self._write = write
        self._version = version
        self._last = 0
        self.notifications: list[dict[str, Any]] = []

    async def say(self, message: dict[str, Any]) -> None:
        parsed = jsonrpc_message_adapter.validate_python({"jsonrpc": "2.0", **message}, by_name=False)
        await self._write.send(SessionMessage(parsed))

    async def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """The whole answer to a request, which the next one has to be."""
        self._last += 1
        await self.say({"id": self._last, "method": method, "params": self.stamped(params or {})})
        while "id" not in (message := await self.receive()):
            self.notifications.append(message)
        assert message["id"] == self._last
        return message

    async def receive(self) -> dict[str, Any]:
        """The next message of the server, whatever it is."""
        with anyio.fail_after(10):
            received = await self._read.receive()
        return json.loads(received.message.model_dump_json(by_alias=True, exclude_unset=True))

    def stamped(self, params: dict[str, Any]) -> dict[str, Any]:
        """What a request says of its client: nothing after a handshake, everything without one."""
        return params if self._version in HANDSHAKES else {**params, "_meta": meta()}

    async def tool(self, name: str, arguments: Any) -> dict[str, Any]:
        return await self.ask("tools/call", {"name": name, "arguments": arguments})


def meta() -> dict[str, Any]:
    """What requests of 2026-07-28 carry."""
    base = "io.modelcontextprotocol/"
    return {f"{base}protocolVersion": MODERN, f"{base}clientInfo": CLIENT, f"{base}clientCapabilities": {}}


@asynccontextmanager
async def wired(server: MailServer, version: str) -> AsyncGenerator[Wire]:
    """A session in memory at a protocol revision, its handshake done where it has one."""
    async with create_client_server_memory_streams() as (ours, theirs), anyio.create_task_group() as tasks:
        tasks.start_soon(server.run_session, *theirs)
        wire = Wire(*ours, version)
        if version in HANDSHAKES:
            params = {"protocolVersion": version, "capabilities": {}, "clientInfo": CLIENT}
            assert (await wire.ask("initialize", params))["result"]["protocolVersion"] == version
            await wire.say({"method": "notifications/initialized"})
        yield wire
        tasks.cancel_scope.cancel()


# -- mail ------------------------------------------------------------------------------------------------------------


async def arrive(
    daimon: Daimon,
    to: str,
    *,
    subject: str = "Hello",
    body: str = "A word.",
    sender: str = "ann@example.com",
    name: str = "",
    **headers: str,
) -> None:
    """Mail from outside, as the inbound listener hands it over."""
    mail = EmailMessage()
    mail["From"] = f"{name} <{sender}>" if name else sender
    mail["To"] = to
    mail["Subject"] = subject
    mail["Message-ID"] = f"<{os.urandom(8).hex()}@example.com>"
    for header, value in headers.items():
        mail[header.replace("_", "-")] = value
    mail.set_content(body)
    await receive(daimon, to, mail.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), sender)


async def receive(daimon: Daimon, to: str, content: bytes, sender: str = "ann@example.com") -> None:
    """Raw mail from outside."""
    peer = Peer(address="127.0.0.1", helo="mail.example.com")
    await daimon.operations.receiving.receive(Envelope(sender, (to,)), peer, content)


# -- every tool ------------------------------------------------------------------------------------------------------


async def every_tool(agent: Agent) -> dict[str, Answer]:
    """One story that uses every tool, each call done where that needs no other server; the answers by tool."""
    said: dict[str, Answer] = {}

    async def do(tool: str, **arguments: Any) -> dict[str, Any]:
        said[tool] = await agent.call(tool, **arguments)
        return said[tool].result

    mine = await do("create_inbox", username="mine", client_id="mine")
    theirs = await do("create_inbox", username="theirs", client_id="theirs")
    assert {each["id"] for each in (await do("list_inboxes"))["inboxes"]} == {mine["id"], theirs["id"]}
    assert (await do("get_inbox", inbox=mine["address"]))["id"] == mine["id"]
    assert (await do("update_inbox", inbox=mine["id"], display_name="Mine"))["display_name"] == "Mine"
    since = (await do("changes", inbox=theirs["id"]))["cursor"]

    sent = await do(
        "send_email", inbox=mine["id"], to=theirs["address"], subject="First", body="One word.", client_id="first"
    )
    assert sent["status"] == "delivered"
    came = await do("wait_for_message", inbox=theirs["id"], timeout_seconds=5)
    message = came["message"]["id"]
    assert [each["id"] for each in (await do("list_messages", inbox=theirs["id"]))["messages"]] == [message]
    assert (await do("get_message", message_id=message))["body_text"].strip() == "One word."
    assert (await do("search_messages", inbox=theirs["id"], query="first"))["messages"][0]["id"] == message
    answered = await do("reply_to_message", message_id=message, body="Two words.", client_id="second")
    assert answered["status"] == "delivered"
    assert [each["what"][0] for each in (await do("changes", since=since))["changes"]] == ["new", "new"]
    assert (await do("explain_delivery", message_id=sent["id"]))["delivery_status"] == "delivered"
    thread = await do("get_thread", thread_id=sent["thread_id"])
    assert thread["thread"]["id"] in [each["id"] for each in (await do("list_threads", inbox=mine["id"]))["threads"]]
    assert (await do("update_thread", thread_id=sent["thread_id"], add_labels=["done"]))["thread"]["labels"] == ["done"]
    assert "seen" in (await do("update_message", message_id=message, add_labels=["seen"]))["labels"]
    assert [each["subject"] for each in thread["thread"]["messages"]] == ["First", "Re: First"]
    passed_on = await do("forward_message", message_id=message, to=mine["address"], body="See.", client_id="third")
    assert passed_on["status"] == "delivered"

    filed = await agent.do(
        "send_email", inbox=mine["id"], to=theirs["address"], subject="File", body="See.",
        attachments=[{"filename": "a.txt", "content": "aGk="}],
    )  # fmt: skip
    [file] = (await agent.do("get_message", message_id=filed["id"]))["attachments"]
    saved = await do("get_attachment", attachment_id=file["id"], save=True)
    assert (await do("upload_attachment", path=saved["path"]))["size"] == 2

    draft = await do("create_draft", inbox=mine["id"], subject="Draft", body="Not yet.")
    await do("update_draft", draft_id=draft["id"], to=theirs["address"])
    assert [each["id"] for each in (await do("list_drafts", inbox=mine["id"]))["drafts"]] == [draft["id"]]
    assert (await do("get_draft", draft_id=draft["id"]))["to"][0]["email"] == theirs["address"]
    assert (await do("send_draft", draft_id=draft["id"]))["status"] == "delivered"
    dropped = await do("create_draft", inbox=mine["id"], subject="Never")
    assert (await do("delete_draft", draft_id=dropped["id"]))["deleted"] is True
    later = await agent.do(
        "send_email", inbox=mine["id"], to=theirs["address"], subject="Later", body="Soon.",
        send_at="2099-01-01T00:00:00Z",
    )  # fmt: skip
    assert (await do("cancel_scheduled", message_id=later["id"]))["status"] == "cancelled"

    assert (await do("add_to_list", list="block", entries=["spam.example"]))["entries"] == ["spam.example"]
    assert [each["entry"] for each in (await do("get_lists"))["entries"]] == ["spam.example"]
    assert (await do("remove_from_list", list="block", entries=["spam.example"]))["entries"] == ["spam.example"]
    assert (await do("list_suppressions"))["suppressions"] == []
    said["remove_suppression"] = await agent.call("remove_suppression", address="gone@far.example")
    assert said["remove_suppression"].error == "INVALID_REQUEST"  # nothing leaves, so nothing bounces
    assert (await do("delete_message", message_id=message))["permanent"] is False

    domain = await do("create_domain", domain="mine.example.com")
    assert [each["id"] for each in (await do("list_domains"))["domains"]] == [domain["id"]]
    assert (await do("get_domain", domain="mine.example.com"))["dns_records"] == domain["dns_records"]
    assert (await do("verify_domain", domain=domain["id"]))["status"] == "pending"  # nobody answers
    assert (await do("delete_domain", domain=domain["id"]))["status"] == "deleted"

    hook = await do("create_webhook", url="http://127.0.0.1:9/hook", events=["domain.verified"])
    assert [each["id"] for each in (await do("list_webhooks"))["webhooks"]] == [hook["id"]]
    assert (await do("test_webhook", webhook_id=hook["id"]))["delivered"] is False  # nobody is there
    assert (await do("update_webhook", webhook_id=hook["id"], status="disabled"))["status"] == "disabled"
    assert (await do("delete_webhook", webhook_id=hook["id"]))["status"] == "deleted"

    assert (await do("get_account"))["tier"] == "free"
    assert (await do("get_capabilities"))["next_tier"] == "starter"
    password = (await do("get_smtp_credentials"))["password"]
    assert password.startswith("smtp_secret_")
    assert (await do("rotate_smtp_password"))["password"] not in (password, None)
    assert (await do("wait_for_upgrade", timeout_seconds=0))["status"] == "upgraded"
    link = await do("create_upgrade_link", target_tier="pro", reason="to answer the customers")
    assert link["url"].startswith("http://127.0.0.1:")
    asked = await do("notify_operator", issue="May I delete the inbox of the tests?")
    assert (await do("get_approval", approval_id=asked["approval_id"]))["status"] == "pending"
    waited = await do("wait_for_approval", approval_id=asked["approval_id"], timeout_seconds=0)
    assert waited["status"] == "pending"
    made = await do("create_key", name="worker", permissions=["message_read"])
    renewed = await do("rotate_key", key_id=made["id"], overlap_seconds=0)
    assert (await do("revoke_key", key_id=renewed["id"]))["status"] == "revoked"
    assert "worker" in [each["name"] for each in (await do("list_keys"))["keys"]]
    assert (await do("delete_inbox", inbox=theirs["id"]))["status"] == "deleted"
    return said
