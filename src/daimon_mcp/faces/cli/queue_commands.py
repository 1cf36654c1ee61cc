"""`daimon-mcp queue …` and `daimon-mcp suppressions …`: mail under way, and addresses that are not written to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="The data folder.", show_default=False)]
Config = Annotated[Path | None, typer.Option("--config", help="Path of config.toml.", show_default=False)]
Which = Annotated[str, typer.Argument(help="A delivery (dlv_…), a message (msg_…), or a recipients' domain.")]
All = Annotated[bool, typer.Option("--all", help="Everything in the queue.")]
State = Annotated[str, typer.Option(help="Only those that are queued, or held.")]
Account = Annotated[str | None, typer.Option(help="Account id; left out, this machine's own.")]
Ask = Callable[..., Any]
Say = Callable[[str], None]

PAGE = 100


def queue_group(ask: Ask, say: Say) -> typer.Typer:
    """The group of commands; `ask` asks the owner (data folder, config, method, parameters), `say` prints a line."""
    queue = typer.Typer(help="Mail that has not left, and mail that is not filed yet.", no_args_is_help=True)

    def change(verb: str, done: str, data_dir: Path | None, config: Path | None, **which: object) -> None:
        if bool(which["which"]) == which["everything"]:
            sys.stderr.write(f"daimon-mcp: name what to {verb}, or give --all\n")
            raise typer.Exit(2)
        count = ask(data_dir, config, f"queue.{verb}", **which)["count"]
        say(f"{done}: {count}.")

    @queue.command("list")
    def list_(
        which: Annotated[str, typer.Argument(help="A delivery, a message, or a recipients' domain.")] = "",
        state: State = "",
        data_dir: DataDir = None,
        config: Config = None,
    ) -> None:
        """What waits to leave or is held, oldest first, with the last answer of the other server."""
        after, found = 0, False
        while rows := ask(
            data_dir, config, "queue.list", which=which, everything=not which, state=state, after=after, limit=PAGE
        ):
            for row in rows:
                for line in _delivery(row):
                    say(line)
            after, found = rows[-1]["no"], True
        if not found:
            say("Nothing waits.")

    @queue.command()
    def hold(which: Which = "", everything: All = False, data_dir: DataDir = None, config: Config = None) -> None:
        """Keep deliveries from being tried until they are released; those being tried now go on."""
        change("hold", "Held", data_dir, config, which=which, everything=everything)

    @queue.command()
    def release(which: Which = "", everything: All = False, data_dir: DataDir = None, config: Config = None) -> None:
        """Let held deliveries go, now."""
        change("release", "Released", data_dir, config, which=which, everything=everything)

    @queue.command()
    def retry(which: Which = "", everything: All = False, data_dir: DataDir = None, config: Config = None) -> None:
        """Try waiting deliveries now and not when their time has come."""
        change("retry", "To be tried now", data_dir, config, which=which, everything=everything)

    @queue.command()
    def cancel(
        which: Which = "", everything: All = False, state: State = "", data_dir: DataDir = None, config: Config = None
    ) -> None:
        """Take deliveries out of the queue for good. Their senders see it in the status; no report is written."""
        change("cancel", "Cancelled", data_dir, config, which=which, everything=everything, state=state)

    @queue.command()
    def spool(data_dir: DataDir = None, config: Config = None) -> None:
        """Mail that was acknowledged and is not filed: it waits for that, or was put aside because that failed."""
        rows = ask(data_dir, config, "queue.spool")
        for row in rows:
            for line in _spooled(row):
                say(line)
        if not rows:
            say("Everything is filed.")
        elif any(row["put_aside"] for row in rows):
            say("")
            say("To try again what was put aside: daimon-mcp queue refile --all")

    @queue.command()
    def refile(
        mail: Annotated[str, typer.Argument(help="The id that `queue spool` shows.")] = "",
        everything: Annotated[bool, typer.Option("--all", help="All mail that was put aside.")] = False,
        data_dir: DataDir = None,
        config: Config = None,
    ) -> None:
        """File mail that was put aside, once more."""
        if bool(mail) == everything:
            sys.stderr.write("daimon-mcp: name the mail to refile, or give --all\n")
            raise typer.Exit(2)
        count = ask(data_dir, config, "queue.refile", id=mail)["count"]
        say(f"To be filed again: {count}.")

    _ = (list_, hold, release, retry, cancel, spool, refile)
    return queue


def suppressions_group(ask: Ask, say: Say) -> typer.Typer:
    """The group of commands, as `queue_group`."""
    suppressions = typer.Typer(help="Addresses that are not written to, because mail bounced.", no_args_is_help=True)

    @suppressions.command("list")
    def list_(account: Account = None, data_dir: DataDir = None, config: Config = None) -> None:
        """The suppressed addresses of an account, with what their servers said."""
        cursor, found = None, False
        while True:
            page = ask(data_dir, config, "suppressions.list", account=account, cursor=cursor)
            for each in page["suppressions"]:
                found = True
                say(f"{each['address']}  {each['why']}  since {each['since']}  {each['message_id']}")
                say(f'    "{each["reply"]}"')
            cursor = page["next_cursor"]
            if cursor is None:
                break
        if not found:
            say("No address is suppressed.")

    @suppressions.command()
    def remove(address: str, account: Account = None, data_dir: DataDir = None, config: Config = None) -> None:
        """Let an account write to an address again."""
        removed = ask(data_dir, config, "suppressions.remove", address=address, account=account)
        say(f"Mail to {removed['address']} is sent again.")

    _ = (list_, remove)
    return suppressions


def _delivery(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['id']}  {row['state']}  {row['from']} -> {row['to']}  {row['message_id']}  account {row['account']}"
    again = f"again at {row['next_attempt_at']}, " if row["next_attempt_at"] else ""
    yield f"    queued {row['queued_at']}, attempts: {row['attempts']}, {again}given up at {row['given_up_at']}"
    if row["subject"]:
        yield f'    subject: "{row["subject"]}"'
    if row["last_reply"]:
        yield f'    {row["remote"]}: "{row["last_reply"]}"'


def _spooled(row: dict[str, Any]) -> Iterator[str]:
    state = f"put aside after {row['tries']} tries" if row["put_aside"] else "waits"
    yield f"{row['id']}  {state}  {row['origin']}  since {row['received_at']}  {row['size']} octets"
    yield f"    {row['from'] or '<>'} -> {', '.join(row['to'])}"
