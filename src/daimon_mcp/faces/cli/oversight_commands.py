"""`daimon-mcp operator …` about what agents want to send, and `daimon-mcp audit …`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

Ask = Callable[..., Any]
Say = Callable[[str], None]

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="The data folder.", show_default=False)]
Config = Annotated[Path | None, typer.Option("--config", help="Path of config.toml.", show_default=False)]

_WHY = {
    "every_send": "every email of this inbox needs your approval",
    "new_recipients": "it goes to an address this inbox does not know",
    "after_untrusted": "it goes to a new address, and the agent had read mail from outside",
    "secrets": "it seems to hold something secret",
}


def add_approval_commands(group: typer.Typer, ask: Ask, say: Say) -> None:
    """The commands of `operator` that decide what leaves. `say` prints an agent's words safely, a line at a time."""

    @group.command("list")
    def waiting(data_dir: DataDir = None, config: Config = None) -> None:
        """What waits for your decision."""
        found = ask(data_dir, config, "operator.list")
        if not found:
            say("Nothing waits for a decision.")
        for each in found:
            for line in _listed(each):
                say(line)

    @group.command()
    def show(approval_id: str, data_dir: DataDir = None, config: Config = None) -> None:
        """One request; of held mail, what it says and to whom it would go."""
        each = ask(data_dir, config, "operator.show", id=approval_id)
        for line in _listed({**each, "mail": each.get("preview")}):
            say(line)
        if held := each.get("preview"):
            for line in _letter(held):
                say(line)
        if each["status"] != "pending":
            say(f"It is {each['status']}." + (f" Comment: {each['comment']}" if each["comment"] else ""))

    @group.command()
    def approve(
        approval_id: str,
        comment: Annotated[str, typer.Option(help="The agent reads it.")] = "",
        always: Annotated[
            bool, typer.Option("--always", help="Held mail: its recipients need no approval from now on.")
        ] = False,
        data_dir: DataDir = None,
        config: Config = None,
    ) -> None:
        """Approve a request."""
        decided = ask(data_dir, config, "operator.decide", id=approval_id, approve=True, comment=comment, always=always)
        if decided["kind"] == "send":
            say(f"Approved {decided['id']}: {decided['message_id']} leaves now, as far as the limits allow.")
        else:
            say(f"Approved {decided['id']}: account {decided['account']} is on {decided['tier']}.")

    def decline(
        approval_id: str,
        comment: Annotated[str, typer.Option(help="Why; the agent reads it.")] = "",
        data_dir: DataDir = None,
        config: Config = None,
    ) -> None:
        """Decline a request; held mail is not sent."""
        decided = ask(data_dir, config, "operator.decide", id=approval_id, approve=False, comment=comment)
        say(f"Declined {decided['id']}.")

    group.command("decline")(decline)
    group.command("reject", help="The same as decline.")(decline)

    @group.command()
    def oversight(
        inbox: Annotated[str, typer.Argument(help="Its address or id.")],
        mode: Annotated[
            str | None, typer.Argument(help="read_only, gated_send, gated_new, monitored or autonomous.")
        ] = None,
        after_untrusted: Annotated[
            str | None,
            typer.Option(help="hold: mail to new recipients waits when its sender has read outside mail; or allow."),
        ] = None,
        pause: Annotated[
            bool | None, typer.Option("--pause/--resume", help="Send nothing until it is resumed.")
        ] = None,
        data_dir: DataDir = None,
        config: Config = None,
    ) -> None:
        """How an inbox is overseen: what it sends by itself, and what waits for you."""
        changed = ask(
            data_dir, config, "operator.oversight", inbox=inbox, oversight=mode, after_untrusted=after_untrusted,
            paused=pause,
        )  # fmt: skip
        paused = ", paused" if changed["paused"] else ""
        say(f"{changed['address']}: {changed['oversight']}, after outside mail {changed['after_untrusted']}{paused}.")


def _listed(each: dict[str, Any]) -> list[str]:
    kind = {"upgrade": f"{each['tier']} -> {each['target_tier']}", "send": "held email"}.get(each["kind"], "question")
    lines = [f"{each['id']}  {kind}  account {each['account']}  since {each['created_at']}"]
    if mail := each.get("mail"):
        lines += [f"    from {mail['from']} to {', '.join([*mail['to'], *mail['cc'], *mail['bcc']])}"]
        lines += [f"    subject: {mail['subject']}"]
        lines += [f"    held: {_WHY.get(why, why)}" for why in mail["why"]]
        lines += [f"    found: {found['kind']} in {found['place']}" for found in mail["findings"]]
    if each["reason"]:
        lines.append(f"    the agent says: {each['reason']}")
    if each["context"]:
        lines.append(f"    context: {each['context']}")
    return lines


def _letter(mail: dict[str, Any]) -> list[str]:
    """What it says, each line behind a mark, so that none passes for ours."""
    lines = [f"  | {line}" for line in str(mail["text"]).splitlines()]
    if mail["quoted"]:
        lines += ["  what others wrote, below it:", *(f"  > {line}" for line in str(mail["quoted"]).splitlines())]
    if mail["left_out"]:
        lines.append(f"  {mail['left_out']} more characters are not shown.")
    lines += [f"  file: {each['filename']} ({each['size']} bytes)" for each in mail["files"]]
    return lines


def audit_group(ask: Ask, say: Say) -> typer.Typer:
    """`audit`: who did what."""
    group = typer.Typer(help="The log of everything that was changed, by whom and why.", no_args_is_help=True)

    @group.command("list")
    def listed(
        account: Annotated[str | None, typer.Option(help="Only of this account.")] = None,
        who: Annotated[str | None, typer.Option(help="Only by this key's id, or local, or operator.")] = None,
        operation: Annotated[str | None, typer.Option(help="Only this, such as send_email.")] = None,
        target: Annotated[str | None, typer.Option(help="Only what was done to this id.")] = None,
        after: Annotated[str | None, typer.Option(help="Only from this time on, such as 2026-11-21T09:00:00Z.")] = None,
        before: Annotated[str | None, typer.Option(help="Only before this time.")] = None,
        limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
        data_dir: DataDir = None,
        config: Config = None,
    ) -> None:
        """The newest entries first."""
        found = ask(
            data_dir, config, "audit.list", account=account, who=who, operation=operation, target=target, after=after,
            before=before, limit=limit,
        )  # fmt: skip
        for each in found["entries"]:
            reason = f"  because: {each['reason']}" if each["reason"] else ""
            say(
                f"{each['no']}  {each['at']}  {each['who']} by {each['face'] or '-'}  {each['operation']}"
                f"  {each['target'] or '-'}{reason}"
            )
        if found["has_more"]:
            sys.stderr.write("There are older ones: raise --limit, or use --before.\n")

    @group.command()
    def verify(data_dir: DataDir = None, config: Config = None) -> None:
        """Whether every entry is as it was written, and none is missing in between."""
        found = ask(data_dir, config, "audit.verify")
        if not found["whole"]:
            sys.stderr.write(f"The audit log does not fit from entry {found['broken_at']} on.\n")
            raise typer.Exit(1)
        say(f"The audit log is whole: {found['entries']} entries.")

    @group.command()
    def export(data_dir: DataDir = None, config: Config = None) -> None:
        """All entries as JSON lines, oldest first, with the hashes that chain them."""
        after: int | None = 0
        while after is not None:
            page = ask(data_dir, config, "audit.export", after=after)
            for each in page["entries"]:
                sys.stdout.write(json.dumps(each) + "\n")
            after = page["next_after"]

    return group
