"""`daimon-mcp serve`: everything in the foreground, and how to connect to it."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from daimon_mcp import paths
from daimon_mcp.app import App
from daimon_mcp.runner import run_serve
from daimon_mcp.settings import Relay, Settings

_LOCAL_KEY = "local_key_made"


def _say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def _first_time(running: App) -> tuple[str | None, str | None]:
    """A passcode and a key, made and shown at the first start only."""
    from daimon_mcp.store import accounts
    from daimon_mcp.store import compiled as sql
    from daimon_mcp.store.database import Transaction

    operations = running.operations
    credentials = operations.credentials
    passcode = None if await credentials.has_passcode() else await credentials.set_passcode()
    actor = await operations.accounts.local_actor()

    def run(tx: Transaction) -> str | None:
        if tx.one(sql.meta_get, key=_LOCAL_KEY) is not None:
            return None
        account = accounts.account_in(tx, actor.account_no)
        _, key = credentials.issue_key(tx, account_no=account.no, tier=account.tier, name="made by serve")
        tx.run(sql.meta_put, key=_LOCAL_KEY, value="1")
        return key

    return passcode, await operations.core.database.write(run)


async def _ready(running: App) -> None:
    passcode, key = await _first_time(running)
    base = running.operations.core.public_url
    _say(f"daimon-mcp runs. Data folder: {running.settings.data_dir}")
    _say()
    _say(f"  MCP (Streamable HTTP)  {base}/mcp")
    _say(f"  MCP (SSE)              {base}/sse")
    _say(f"  Health                 {base}/healthz")
    if running.bound.inbound:
        host, port = running.bound.inbound
        _say(f"  Inbound SMTP           {host}:{port}  for {', '.join(running.settings.mail_domains)}")
    if running.bound.submission and running.bound.submission_tls:
        host, port = running.bound.submission
        _say(f"  SMTP submission        {host}:{port} with STARTTLS, {host}:{running.bound.submission_tls[1]} with TLS")
    if running.bound.fingerprint:
        _say(f"  TLS certificate        self-signed, SHA-256 {running.bound.fingerprint}")
    relay = running.settings.relay
    _say(f"  Relay                  {_relay(relay)}")
    _say()
    if passcode:
        _say(f"  Operator's passcode, shown this once: {passcode}")
    if key:
        _say(f"  API key for HTTP clients, shown this once: {key}")
    if passcode or key:
        _say()
    _say("Connect a client:")
    for line in connect_help(base, key, _unusual(running.settings.data_dir)):
        _say(f"  {line}")
    _say()
    _say("Approve what agents ask: open the link they show you, or run: daimon-mcp operator list")
    for note in running.operations.core.notes:
        _say(f"Note: {note}")


def program() -> str:
    """This program as others can start it: its full path, wherever it is installed."""
    beside = Path(sys.executable).with_name("daimon-mcp")
    return str(beside) if beside.exists() else shutil.which("daimon-mcp") or "daimon-mcp"


def connect_help(base: str, key: str | None, data_dir: Path | None = None) -> list[str]:
    """How to connect each client, stdio first: it needs no key."""
    command = program()
    arguments = [] if data_dir is None else ["--data-dir", str(data_dir)]
    entry: dict[str, Any] = {"command": command, **({"args": arguments} if arguments else {})}
    stdio: dict[str, Any] = {"mcpServers": {"daimon": entry}}
    shown = key or "<key from: daimon-mcp keys create>"
    return [
        f"Claude Code      claude mcp add daimon -- {shlex.join([command, *arguments])}",
        f"Claude, Cursor   {json.dumps(stdio)}",
        f"VS Code          {json.dumps({'servers': {'daimon': {'type': 'stdio', **entry}}})}",
        f"over HTTP        {base}/mcp with the header: Authorization: Bearer {shown}",
    ]


def _relay(relay: Relay) -> str:
    """Where mail to others goes."""
    if relay.mode == "sandbox":
        return "sandbox: nothing leaves, outcomes are made up"
    if relay.mode == "direct":
        return "none: mail goes to the recipients' servers directly"
    return f"{relay.host}:{relay.port}" if relay.host else "none: mail to others is refused"


def _unusual(data_dir: Path) -> Path | None:
    """The data folder, if a client has to be told of it."""
    return None if str(data_dir) == paths.data_dir({"HOME": str(Path.home())}) else data_dir


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    run_serve(settings, _ready)
