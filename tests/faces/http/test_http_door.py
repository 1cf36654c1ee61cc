"""Who comes in over HTTP: hosts, origins, keys, sessions, sizes; on every route there is."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from tests.faces.mcp.kit import (
    CLIENT,
    ERAS,
    FREE_SENDS,
    HANDSHAKES,
    MODERN,
    arrive,
    bearer,
    key,
    meta,
    over_http,
    over_sse,
    stranger,
)
from tests.support.daimon import Agent, Daimon, running

from daimon_mcp.faces.http import bind
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.operations.keys import RevokeKey
from daimon_mcp.store import accounts
from daimon_mcp.store import compiled as sql

MCP = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
PROTECTED = [
    ("POST", "/mcp"),
    ("GET", "/mcp"),
    ("DELETE", "/mcp"),
    ("GET", "/sse"),
    ("POST", "/messages/?session_id=x"),
    ("POST", "/inbound"),
]
ROUTES = [
    *PROTECTED,
    ("GET", "/healthz"),
    ("GET", "/upgrade"),
    ("POST", "/upgrade"),
    ("GET", "/approve"),
    ("GET", "/no"),
]
MOST_BODY = 4 * 1024 * 1024


@pytest.fixture(scope="module")
async def open_door(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Daimon]:
    """One server for all that only looks."""
    async with running(tmp_path_factory.mktemp("door"), FREE_SENDS, listeners=True) as daimon:
        yield daimon


@pytest.fixture
async def http(open_door: Daimon) -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=open_door.url, timeout=10) as client:
        yield client


def question(method: str, params: dict[str, Any] | None = None, ident: int = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": ident, "method": method, "params": params or {}}


HELLO = question("initialize", {"protocolVersion": HANDSHAKES[-1], "capabilities": {}, "clientInfo": CLIENT})


def rpc(response: httpx2.Response) -> dict[str, Any]:
    """The JSON-RPC message of a response, whichever of the two forms it has."""
    if response.headers["content-type"].startswith("text/event-stream"):
        data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
        return json.loads(data[-1])
    return response.json()


# -- keys ------------------------------------------------------------------------------------------------------------

NO_KEYS = {
    "none": {},
    "wrong": {"Authorization": "Bearer dm_free_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    "not a key": {"Authorization": "Bearer hello"},
    "empty": {"Authorization": "Bearer"},
    "another scheme": {"Authorization": "Basic ZG1fZnJlZV94Og=="},
    "long": {"Authorization": "Bearer dm_" + "x" * 10_000},
}


@pytest.mark.parametrize("headers", NO_KEYS.values(), ids=NO_KEYS.keys())
@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_without_a_valid_key_there_is_nothing(
    http: httpx2.AsyncClient, method: str, path: str, headers: dict[str, str]
) -> None:
    response = await http.request(method, path, headers={**MCP, **headers}, json=HELLO)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="daimon-mcp"'
    assert response.headers["content-type"] == "application/json"
    envelope = response.json()
    assert envelope["error"] == "UNAUTHORIZED"
    assert envelope["next_steps"]
    assert "mcp-session-id" not in response.headers


async def test_a_key_in_the_address_is_no_key(open_door: Daimon, http: httpx2.AsyncClient) -> None:
    own = await key(open_door)
    for name in ("key", "token", "access_token", "api_key"):
        assert (await http.post(f"/mcp?{name}={own}", json=HELLO, headers=MCP)).status_code == 401


async def test_the_scheme_is_read_in_any_case(open_door: Daimon, http: httpx2.AsyncClient) -> None:
    own = await key(open_door)
    for scheme in ("Bearer", "bearer", "BEARER"):
        response = await http.post("/mcp", json=HELLO, headers={**MCP, "Authorization": f"{scheme} {own}"})
        assert response.status_code == 200


async def test_a_revoked_key_ends_what_it_opened(serving: Daimon) -> None:
    actor = await serving.actor()
    own = await key(serving)
    (found,) = (await serving.operations.keys.list_keys(actor)).result["keys"]
    async with httpx2.AsyncClient(base_url=serving.url, headers={**MCP, **bearer(own)}) as http:
        session = {"Mcp-Session-Id": (await http.post("/mcp", json=HELLO)).headers["mcp-session-id"]}
        async with http.stream("GET", "/sse") as stream:
            lines = stream.aiter_lines()  # kept: without it the stream ends
            endpoint = await next_data(lines)
            assert (await http.post("/mcp", json=question("ping"), headers=session)).status_code == 200
            assert (await http.post(endpoint, json=HELLO)).status_code == 202
            await serving.operations.keys.revoke_key(actor, RevokeKey(key_id=found["id"]))
            assert (await http.post("/mcp", json=question("ping"), headers=session)).status_code == 401
            assert (await http.post(endpoint, json=question("ping"))).status_code == 401
        assert (await http.post("/mcp", json=HELLO)).status_code == 401


async def next_data(lines: AsyncIterator[str]) -> str:
    """The next event of an SSE stream: the first says where messages go."""
    async for line in lines:
        if line.startswith("data: "):
            return line.removeprefix("data: ")
    raise EOFError


async def test_a_suspended_account_is_told_so(serving: Daimon) -> None:
    theirs, _ = await stranger(serving)
    found = await accounts.account_by_id(serving.operations.core.database, "acc_stranger")
    assert found is not None
    await serving.operations.core.database.write(
        lambda tx: tx.run(sql.account_set_status, account_no=found.no, status="suspended")
    )
    async with httpx2.AsyncClient(base_url=serving.url) as http:
        response = await http.post("/mcp", json=HELLO, headers={**MCP, **bearer(theirs)})
    assert response.status_code == 403
    assert response.json()["error"] == "ACCOUNT_SUSPENDED"
    assert "www-authenticate" not in response.headers


async def test_a_key_that_cannot_be_checked_is_our_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path / "data", listeners=True) as daimon:
        own = await key(daimon)
        async with httpx2.AsyncClient(base_url=daimon.url) as http:
            with closing(sqlite3.connect(tmp_path / "data" / "mail.db")) as other:
                other.execute("ALTER TABLE keys RENAME TO gone")
                response = await http.post("/mcp", json=HELLO, headers={**MCP, **bearer(own)})
                other.execute("ALTER TABLE gone RENAME TO keys")
    assert response.status_code == 500
    assert response.json()["error"] == "INTERNAL"
    assert "no such table" in caplog.text
    assert "no such table" not in response.text
    assert own not in caplog.text


# -- who sees what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("transport", [over_http, over_sse])
async def test_the_key_of_an_inbox_sees_that_inbox_only(tmp_path: Path, transport: Any, era: str) -> None:
    sections = {**FREE_SENDS, "mcp": {"profile": "full"}}
    async with running(tmp_path / "data", sections, listeners=True) as daimon:
        actor = await daimon.actor()
        mine, other = [
            (await daimon.operations.inboxes.create_inbox(actor, CreateInbox(username=name))).result
            for name in ("mine", "other")
        ]
        for each in (mine, other):
            await arrive(daimon, each["address"], subject=f"For {each['address']}")
        async with daimon.agent() as whole:
            hidden = (await whole.do("list_messages", inbox=other["id"]))["messages"][0]
            draft = await whole.do("create_draft", inbox=other["id"], subject="Hidden")
        async with transport(daimon.url, mine["api_key"], era) as agent:
            assert [each["id"] for each in (await agent.do("list_inboxes"))["inboxes"]] == [mine["id"]]
            assert (await agent.do("get_account"))["inbox_count"] == 1
            # Without a name it is its own inbox.
            assert (await agent.do("list_messages"))["messages"][0]["subject"] == "For mine@agents.localhost"
            for tool, arguments, code in (
                ("list_messages", {"inbox": other["id"]}, "INBOX_NOT_FOUND"),
                ("list_messages", {"inbox": other["address"]}, "INBOX_NOT_FOUND"),
                ("search_messages", {"inbox": other["id"], "query": "For"}, "INBOX_NOT_FOUND"),
                ("wait_for_message", {"inbox": other["id"], "timeout_seconds": 0}, "INBOX_NOT_FOUND"),
                ("get_message", {"message_id": hidden["id"]}, "MESSAGE_NOT_FOUND"),
                ("get_thread", {"thread_id": hidden["thread_id"]}, "THREAD_NOT_FOUND"),
                ("reply_to_message", {"message_id": hidden["id"], "body": "x"}, "MESSAGE_NOT_FOUND"),
                ("send_email", {"inbox": other["id"], "to": "x@y.org", "subject": "x", "body": "y"}, "INBOX_NOT_FOUND"),
                ("get_draft", {"draft_id": draft["id"]}, "DRAFT_NOT_FOUND"),
                ("send_draft", {"draft_id": draft["id"]}, "DRAFT_NOT_FOUND"),
                ("delete_inbox", {"inbox": other["id"]}, "INBOX_NOT_FOUND"),
                ("create_inbox", {}, "FORBIDDEN"),
                ("get_smtp_credentials", {}, "FORBIDDEN"),
            ):
                answer = await agent.call(tool, **arguments)
                assert (tool, answer.error) == (tool, code)
                unknown = await agent.call(tool, **{**arguments, **_unknown(arguments)})
                assert unknown.error == code
                assert unknown.envelope == answer.envelope  # hidden and unknown are told alike


def _unknown(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same question about something that never was."""
    return {
        name: f"{str(value)[:4]}{'0' * 26}"
        for name, value in arguments.items()
        if name in ("inbox", "message_id", "thread_id", "draft_id")
    }


async def test_another_account_sees_nothing_of_ours(open_door: Daimon) -> None:
    actor = await open_door.actor()
    ours = (await open_door.operations.inboxes.create_inbox(actor, CreateInbox(username="ours"))).result
    theirs, address = await stranger(open_door, "foreign")
    async with over_http(open_door.url, theirs) as agent:
        assert [each["address"] for each in (await agent.do("list_inboxes"))["inboxes"]] == [address]
        assert (await agent.call("list_messages", inbox=ours["id"])).error == "INBOX_NOT_FOUND"


async def _session(http: httpx2.AsyncClient, own: str) -> str:
    response = await http.post("/mcp", json=HELLO, headers={**MCP, **bearer(own)})
    return response.headers["mcp-session-id"]


async def test_a_session_belongs_to_the_key_that_opened_it(open_door: Daimon, http: httpx2.AsyncClient) -> None:
    own, again = await key(open_door), await key(open_door)
    theirs, _ = await stranger(open_door, "thief")
    ident = await _session(http, own)
    for method in ("POST", "GET", "DELETE"):
        for other in (again, theirs):
            headers = {**MCP, **bearer(other), "Mcp-Session-Id": ident}
            response = await http.request(method, "/mcp", json=question("tools/list"), headers=headers)
            assert response.status_code == 404
            assert "Session not found" in response.text
            unknown = {**headers, "Mcp-Session-Id": "0" * 32}
            assert (await http.request(method, "/mcp", json=HELLO, headers=unknown)).text == response.text
    headers = {**MCP, **bearer(own), "Mcp-Session-Id": ident}
    assert rpc(await http.post("/mcp", json=question("tools/list"), headers=headers))["result"]["tools"]


async def test_a_stream_belongs_to_the_key_that_opened_it(open_door: Daimon, http: httpx2.AsyncClient) -> None:
    own = await key(open_door)
    theirs, _ = await stranger(open_door, "listener")
    async with http.stream("GET", "/sse", headers=bearer(own)) as stream:
        lines = stream.aiter_lines()
        endpoint = await next_data(lines)
        assert endpoint.startswith("/messages/?session_id=")
        assert (await http.post(endpoint, json=HELLO, headers=bearer(theirs))).status_code == 404
        assert (await http.post(endpoint, json=HELLO, headers=bearer(own))).status_code == 202
        assert json.loads(await next_data(lines))["id"] == 1


# -- hosts and origins -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_host_name_that_is_not_ours(
    open_door: Daimon, http: httpx2.AsyncClient, method: str, path: str
) -> None:
    own = await key(open_door)
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost@evil.example", "[::2]", ""):
        headers = {**MCP, **bearer(own), "Host": host}
        assert (await http.request(method, path, headers=headers, json=HELLO)).status_code == 421, host


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_page_of_another_site(open_door: Daimon, http: httpx2.AsyncClient, method: str, path: str) -> None:
    own = await key(open_door)
    for origin in (
        "http://evil.example", "https://evil.example:8370", "http://127.0.0.1.evil.example", "null", "file://",
        "chrome-extension://127.0.0.1", "127.0.0.1", "",
    ):  # fmt: skip
        headers = {**MCP, **bearer(own), "Origin": origin}
        assert (await http.request(method, path, headers=headers, json=HELLO)).status_code == 403, origin


@pytest.mark.parametrize("host", ["127.0.0.1:1234", "localhost", "LOCALHOST:8370", "[::1]:8370"])
async def test_names_of_this_machine(http: httpx2.AsyncClient, host: str) -> None:
    for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
        response = await http.get("/healthz", headers=headers)
        assert response.status_code == 200
        assert response.json()["status"] == "ok"


async def test_a_request_that_names_no_host(open_door: Daimon) -> None:
    host, port = open_door.app.bound.http or ("", 0)
    async with await anyio.connect_tcp(host, port) as stream:
        await stream.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await stream.receive()).startswith(b"HTTP/1.1 421 ")


async def test_hosts_that_the_operator_allows(tmp_path: Path) -> None:
    sections = {"http": {"public_url": "https://mail.example.org"}}
    async with (
        running(tmp_path / "data", sections, listeners=True) as daimon,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{(daimon.app.bound.http or ('', 0))[1]}") as http,
    ):
        for host, status in (("mail.example.org", 200), ("127.0.0.1", 200), ("example.org", 421)):
            assert (await http.get("/healthz", headers={"Host": host})).status_code == status
        origin = {"Host": "mail.example.org", "Origin": "https://mail.example.org"}
        assert (await http.get("/healthz", headers=origin)).status_code == 200


# -- without keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("transport", [over_http, over_sse])
async def test_where_no_key_is_required_it_is_this_machines_account(tmp_path: Path, transport: Any, era: str) -> None:
    async with running(tmp_path / "data", {"http": {"require_key": False}}, listeners=True) as daimon:
        theirs, address = await stranger(daimon)
        async with transport(daimon.url, None, era) as agent:
            assert (await agent.do("get_account"))["id"] == (await daimon.actor()).account_id
            made = await agent.do("create_inbox", username="ann")
            assert made["account_api_key"].startswith("dm_free_")
        # A key that is given counts, and one that is wrong is refused all the same.
        async with transport(daimon.url, theirs, era) as agent:
            assert [each["address"] for each in (await agent.do("list_inboxes"))["inboxes"]] == [address]
        async with httpx2.AsyncClient(base_url=daimon.url) as http:
            assert (await http.post("/mcp", json=HELLO, headers={**MCP, **bearer("dm_x")})).status_code == 401
            foreign = {**MCP, "Origin": "http://evil.example"}
            assert (await http.post("/mcp", json=HELLO, headers=foreign)).status_code == 403


# -- the protocol's own rules ----------------------------------------------------------------------------------------


@pytest.fixture
async def known(open_door: Daimon, http: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """A client with a key."""
    http.headers.update({**MCP, **bearer(await key(open_door))})
    return http


@pytest.mark.parametrize("path", ["/mcp", "/messages/?session_id=00000000000000000000000000000000"])
async def test_a_body_that_is_too_large(known: httpx2.AsyncClient, path: str) -> None:
    large = json.dumps(question("tools/call", {"name": "send_email", "arguments": {"body": "x" * MOST_BODY}}))
    assert (await known.post(path, content=large)).status_code == 413

    async def pieces() -> AsyncGenerator[bytes]:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536].encode()

    assert (await known.post(path, content=pieces())).status_code == 413


async def test_a_body_below_the_limit_is_read(known: httpx2.AsyncClient) -> None:
    arguments = {"query": "x" * (MOST_BODY - 5000)}
    asked = question("tools/call", {"name": "search_messages", "arguments": arguments, "_meta": meta()})
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "search_messages"}
    answer = rpc(await known.post("/mcp", json=asked, headers=headers))
    assert answer["result"]["structuredContent"]["error"] == "INVALID_REQUEST"


async def test_get_and_delete_of_a_session(known: httpx2.AsyncClient) -> None:
    assert (await known.get("/mcp")).status_code == 400
    assert (await known.delete("/mcp")).status_code == 400
    ident = (await known.post("/mcp", json=HELLO)).headers["mcp-session-id"]
    session = {"Mcp-Session-Id": ident}
    async with known.stream("GET", "/mcp", headers=session) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        # One stream of the server's own messages is enough for a session.
        assert (await known.get("/mcp", headers=session)).status_code == 409
    assert (await known.delete("/mcp", headers=session)).status_code == 200
    for method in ("POST", "GET", "DELETE"):
        assert (await known.request(method, "/mcp", headers=session, json=question("ping"))).status_code == 404


async def test_methods_and_types_that_are_not_served(known: httpx2.AsyncClient) -> None:
    modern = {"MCP-Protocol-Version": MODERN}
    for method in ("GET", "DELETE", "PUT"):
        assert (await known.request(method, "/mcp", headers=modern)).status_code == 405
    assert (await known.put("/mcp")).status_code == 405
    assert (await known.post("/sse")).status_code == 405
    assert (await known.get("/messages/")).status_code == 405
    assert (await known.post("/mcp", json=HELLO, headers={"Accept": "text/html"})).status_code == 406
    assert (await known.post("/mcp", content=b"{", headers={})).status_code == 400
    unknown = {"MCP-Protocol-Version": "2001-01-01"}
    assert (await known.post("/mcp", json=question("tools/list"), headers=unknown)).status_code == 400


async def test_unknown_tools_over_http_are_protocol_errors(known: httpx2.AsyncClient) -> None:
    asked = question("tools/call", {"name": "nope", "arguments": {}, "_meta": meta()})
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "nope"}
    answer = rpc(await known.post("/mcp", json=asked, headers=headers))
    assert answer["error"]["code"] == -32602


async def test_health_needs_no_key_and_says_nothing_of_mail(http: httpx2.AsyncClient) -> None:
    response = await http.get("/healthz")
    assert response.status_code == 200
    assert set(response.json()) == {"status", "version"}


def test_answers_are_not_held_back() -> None:
    """A protocol that is named lets the event loop turn Nagle's algorithm off for each connection."""
    with bind("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP
    with pytest.raises(OSError, match="in use"), bind("127.0.0.1", 0) as first:
        bind("127.0.0.1", first.getsockname()[1])


async def test_many_clients_at_once(open_door: Daimon) -> None:
    own = await key(open_door)

    async def one(transport: Any, era: str) -> None:
        async with transport(open_door.url, own, era) as agent:
            assert isinstance(agent, Agent)
            for _ in range(3):
                assert (await agent.do("get_account"))["tier"] == "free"

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                for transport in (over_http, over_sse):
                    for era in ERAS:
                        tasks.start_soon(one, transport, era)
