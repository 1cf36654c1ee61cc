"""`daimon-mcp demo`: the whole loop on one screen, with the real server started as a client would start it.

A stdio subprocess serves the agent, a real SMTP server on loopback plays the rest of the world, and the operator
decides on the real page. Every step checks what it shows; the first that is not what it should be ends the demo with
an error.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from daimon_mcp.demo_stage import (
    PATIENCE,
    QUOTING,
    SIGN_UP,
    Agent,
    DemoFailed,
    Screen,
    World,
    approve_by_page,
    check,
    history,
    send_from_outside,
)
from daimon_mcp.settings import Settings, load


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def _story(agent: Agent, screen: Screen, world: World, settings: Settings) -> None:
    from daimon_mcp.faces.cli.client import ask

    screen.step("The agent makes two inboxes: a tool call each, no account anywhere")
    ada = await agent.do("create_inbox", username="ada", display_name="Ada", client_id="demo-ada")
    bob = await agent.do("create_inbox", username="bob", display_name="Bob", client_id="demo-bob")
    screen.show("agent", f"create_inbox -> {ada['address']}, {bob['address']} (tier {ada['tier']})")

    screen.step("Sending is refused on the free tier, and the answer says what to do")
    mail = {
        "inbox": ada["id"],
        "to": "carol@world.example",
        "subject": "Your order has shipped",
        "body": "Hello Carol,\nyour order 4711 is on its way. Did you want it gift-wrapped?\n\nAda",
    }
    why = "to tell the customer that the order has shipped"
    refused = await agent.call("send_email", **mail, client_id="order-4711", reason=why)
    check(refused.get("error") == "SEND_REQUIRES_PAID", "the free tier must not send")
    context = refused["upgrade_context"]
    screen.show("server", f"{refused['error']}: {refused['message']}")
    script, _, url = context["agent_script"].rpartition(" ")
    check("http" in url, "the agent_script ends with the link")
    screen.show("script", f"{script} {url.partition('?')[0]}?token=…")
    parked = await agent.do("send_email", **mail, client_id="order-4711", reason=why, park=True)
    check(parked["status"] == "pending_upgrade" and not world.mails, "a parked mail waits")
    screen.show("agent", f"send_email with park=true -> {parked['status']}: kept, not sent")

    screen.step("The operator opens the link, looks, types the passcode, approves")
    passcode = (await asyncio.to_thread(ask, settings, "operator.passcode"))["passcode"]
    heading = await approve_by_page(parked["operator_action_url"], passcode)
    screen.show("page", heading)
    account = await agent.do("get_account")
    check(account["tier"] == "starter", "the account is on the new tier")
    screen.show("agent", f"get_account -> tier {account['tier']}, {account['monthly_send_limit']} sends a month")

    screen.step("The parked mail leaves by itself, through the relay")
    mail_from, recipients, sent = await world.wait_for(1)
    check(
        recipients == ["carol@world.example"] and sent["Subject"] == mail["subject"], "the right mail to the right one"
    )
    check(str(sent["Message-ID"]) == parked["message_id"], "its Message-ID is the one the agent was told")
    screen.show("world", f"MAIL FROM <{mail_from}>  RCPT TO <{recipients[0]}>")
    screen.show("", f"Subject: {sent['Subject']}")
    state = await _until_sent(agent, parked["id"])
    screen.show("agent", f"get_message -> delivery_status {state}")

    screen.step("Carol answers from outside; the waiting tool wakes, and the answer is in the thread")
    waiting = asyncio.create_task(agent.do("wait_for_message", inbox=ada["id"], timeout_seconds=int(PATIENCE)))
    await asyncio.to_thread(
        send_from_outside, settings.smtp.inbound_port, "Carol <carol@world.example>", ada["address"],
        "Re: Your order has shipped", "Yes please, in blue.\n", parked["message_id"],
    )  # fmt: skip
    came: dict[str, Any] = (await waiting)["message"] or {}
    check(came and came["thread_id"] == parked["thread_id"], "the answer joins the thread")
    screen.show("agent", f"wait_for_message -> {came['from_address']}: {came['reply_body'].strip()}")
    answer = await agent.do("reply_to_message", message_id=came["id"], body="Blue it is.", client_id="blue")
    _, _, reply = await world.wait_for(2)
    check(reply["Subject"] == "Re: Your order has shipped", "one Re: is enough")
    check(came["message_id"] in str(reply["References"]), "References name what is answered")
    thread = await agent.do("get_thread", thread_id=answer["thread_id"])
    check(thread["thread"]["message_count"] == 3, "three messages in the thread")
    screen.show("agent", f"reply_to_message -> {reply['Subject']}; thread of {thread['thread']['message_count']}")

    await _reading(agent, screen, settings, ada, first_answer=answer)

    screen.step("A draft is scheduled, and goes when its time comes")
    due = datetime.now(UTC) + timedelta(seconds=2)
    draft = await agent.do(
        "create_draft", inbox=bob["id"], to=ada["address"], subject="Stand-up", body="In five minutes.",
        send_at=due.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )  # fmt: skip
    check(draft["status"] == "scheduled", "a draft with send_at is scheduled")
    screen.show("agent", "create_draft with send_at in two seconds -> scheduled")
    woken = await agent.do("wait_for_message", inbox=ada["id"], subject="Stand-up", timeout_seconds=int(PATIENCE))
    arrived: dict[str, Any] = woken["message"] or {}
    check(arrived, "the scheduled draft arrives")
    screen.show("agent", f"wait_for_message -> {arrived['from_address']}: {arrived['subject']}")

    screen.step("The same client_id twice sends once")
    once = {**mail, "subject": "Invoice 4711", "body": "Attached nothing, owed nothing.", "client_id": "invoice-4711"}
    first = await agent.do("send_email", **once)
    again = await agent.do("send_email", **once)
    check(first["id"] == again["id"], "a repeat answers with the first message")
    await world.wait_for(3)
    await _until_sent(agent, first["id"])
    check(len(world.mails) == 3, "three mails in all reached the world")
    screen.show("agent", "send_email twice -> the same message id")
    screen.show("world", "one mail came")


async def _reading(
    agent: Agent, screen: Screen, settings: Settings, ada: dict[str, Any], *, first_answer: dict[str, Any]
) -> None:
    screen.step("A sign-up mail arrives in HTML; the agent gets its code, and nothing else of it")
    waiting = asyncio.create_task(
        agent.do("wait_for_message", inbox=ada["id"], want="code", timeout_seconds=int(PATIENCE))
    )
    await asyncio.to_thread(
        send_from_outside, settings.smtp.inbound_port, "Acme <login@acme.example>", ada["address"],
        "Confirm your e-mail address", "Please use a mail program that shows HTML.\n", None, SIGN_UP,
    )  # fmt: skip
    got = await waiting
    code: dict[str, Any] = got["code"] or {}
    check(code.get("value") == "482913", "the code is the one in the mail")
    check("Welcome" not in str(got), "no word of the mail's text comes with it")
    screen.show("world", f"a mail of {len(SIGN_UP):,} characters of HTML, with hidden text and a tracker")
    screen.show("agent", f"wait_for_message with want=code -> {code['value']}")

    screen.step("A long answer that quotes everything is read as its new words")
    rich = QUOTING.replace("{history}", history(40))
    await asyncio.to_thread(
        send_from_outside, settings.smtp.inbound_port, "Carol <carol@world.example>", ada["address"],
        "Re: Your order has shipped", "See HTML.\n", first_answer["message_id"], rich,
    )  # fmt: skip
    woken = await agent.do("wait_for_message", inbox=ada["id"], subject="shipped", timeout_seconds=int(PATIENCE))
    long: dict[str, Any] = woken["message"] or {}
    text = await agent.text("get_message", message_id=long["id"])
    tokens = -(-len(text) // 4)
    check("Could it come on Friday" in text and "as agreed on page" not in text, "the new words, and only those")
    check(tokens < 200, f"reading it took {tokens} tokens")
    screen.show("world", f"an answer of {len(rich):,} characters of HTML, most of them quoted")
    screen.show("agent", f"get_message -> {tokens} tokens: {long['reply_body']!r}")


async def _until_sent(agent: Agent, message_id: str) -> str:
    """Wait for the relay's outcome to be on record; the delivery status."""
    async with asyncio.timeout(PATIENCE):
        while True:
            message = await agent.do("get_message", message_id=message_id)
            if message["delivery_status"] != "queued":
                check(message["delivery_status"] == "sent", f"delivery_status is {message['delivery_status']}")
                return message["delivery_status"]
            await asyncio.sleep(0.02)


async def _run(screen: Screen, folder: Path) -> None:
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    world = World()
    async with world.listening():
        environ = {
            "DAIMON_DATA_DIR": str(folder),
            "DAIMON_HTTP__PORT": "0",
            "DAIMON_SMTP__INBOUND_PORT": str(_free_port()),
            "DAIMON_SUBMISSION__PORT": "0",
            "DAIMON_SUBMISSION__TLS_PORT": "0",
            "DAIMON_RELAY__HOST": "127.0.0.1",
            "DAIMON_RELAY__PORT": str(world.port),
            "DAIMON_RELAY__SECURITY": "none",
            "DAIMON_PROFILE": "full",
            "DAIMON_OWNER__IDLE_MINUTES": "0",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DAIMON_")}
        settings = load(data_dir=folder, environ=environ)
        server = StdioServerParameters(command=sys.executable, args=["-m", "daimon_mcp"], env={**inherited, **environ})
        started = time.monotonic()
        async with Client(stdio_client(server)) as client:
            screen.say("daimon-mcp is started as an MCP client starts it: one stdio subprocess, nothing configured")
            await client.list_tools()
            agent = Agent(client, screen)
            await _story(agent, screen, world, settings)
        screen.say()
        screen.say(f"All of it held, on real sockets, in {time.monotonic() - started:.0f} seconds.")


def _stop_owner(folder: Path) -> None:
    """End the owner that the bridge started; the demo leaves nothing behind."""
    from daimon_mcp.runner import holder

    _, pid = holder(folder)
    deadline = time.monotonic() + 10
    try:
        while pid > 1 and time.monotonic() < deadline:
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.05)
    except ProcessLookupError:
        return


def how_to_connect() -> Sequence[str]:
    """The last lines: what to paste where."""
    from daimon_mcp.faces.cli.serve import connect_help

    return ["Connect your own client:", *(f"  {line}" for line in connect_help("http://127.0.0.1:8370", None))]


def run(*, keep: bool = False) -> int:
    """Play the demo; 0 if every step was what it should be."""
    screen = Screen()
    folder = Path(tempfile.mkdtemp(prefix="daimon-demo-"))
    try:
        asyncio.run(_run(screen, folder))
    except (DemoFailed, TimeoutError, ExceptionGroup) as error:
        sys.stdout.flush()
        sys.stderr.write(f"\nThe demo failed at step {screen.number}: {_reason(error)}\n")
        log = folder / "owner.log"
        if log.exists():
            sys.stderr.write(log.read_text(errors="replace")[-2000:])
        return 1
    finally:
        _stop_owner(folder)
        if keep:
            sys.stdout.write(f"The data folder is kept: {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    screen.say()
    for line in how_to_connect():
        screen.say(line)
    return 0


def _reason(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return _reason(group.exceptions[0])
    return f"{type(error).__name__}: {error}"
