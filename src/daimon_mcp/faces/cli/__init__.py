"""The command line. Each command is a few lines around an operation; the words people read are here and in prompts/."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from daimon_mcp import __version__
from daimon_mcp.faces.cli.domain_commands import domain_group
from daimon_mcp.faces.cli.oversight_commands import add_approval_commands, audit_group
from daimon_mcp.faces.cli.queue_commands import queue_group, suppressions_group

app = typer.Typer(
    name="daimon-mcp",
    help="A mail server for AI agents that speaks MCP. Without a command: the stdio server.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
operator = typer.Typer(
    help="What only the operator may do: approve, decline, passcode, accounts.", no_args_is_help=True
)
keys = typer.Typer(help="API keys for agents that connect over HTTP.", no_args_is_help=True)
app.add_typer(operator, name="operator")
app.add_typer(keys, name="keys")

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="The data folder.", show_default=False)]
Config = Annotated[Path | None, typer.Option("--config", help="Path of config.toml.", show_default=False)]


def say(text: str = "") -> None:
    """Print for people."""
    sys.stdout.write(text + "\n")


def fail(text: str, code: int = 1) -> typer.Exit:
    """Say what is wrong on stderr; to be raised."""
    sys.stderr.write(f"daimon-mcp: {text}\n")
    return typer.Exit(code)


def settings_of(data_dir: Path | None, config: Path | None) -> Any:
    """The configuration, or exit with what is wrong with it."""
    from daimon_mcp.settings import SettingsError, load

    try:
        return load(config=config, data_dir=data_dir)
    except SettingsError as error:
        raise fail(str(error), 2) from None


def _ask(data_dir: Path | None, config: Path | None, method: str, **params: Any) -> Any:
    from daimon_mcp.faces.cli.client import CommandFailed, ask
    from daimon_mcp.runner import STARTUP_ERRORS

    try:
        return ask(settings_of(data_dir, config), method, **params)
    except (CommandFailed, *STARTUP_ERRORS) as error:
        raise fail(str(error)) from None


def _version(wanted: bool) -> None:
    if wanted:
        say(f"daimon-mcp {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    data_dir: DataDir = None,
    config: Config = None,
    profile: Annotated[str | None, typer.Option(help="Tools of the stdio server: core or full.")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Only tools that change nothing.")] = False,
    alone: Annotated[bool, typer.Option("--alone", help="Everything in this process, no second one.")] = False,
) -> None:
    """Without a command: the stdio server an MCP client starts (see `daimon-mcp serve` for everything else)."""
    if context.invoked_subcommand is None:
        raise fail("the options of the stdio server are --data-dir, --config, --profile, --read-only and --alone", 2)
    if profile is not None or read_only or alone:
        raise fail("--profile, --read-only and --alone are of the stdio server, and no command takes them", 2)
    given = {name: str(value) for name, value in (("data_dir", data_dir), ("config", config)) if value is not None}
    if given and context.invoked_subcommand == "demo":
        raise fail("demo makes a data folder of its own, with nothing configured: leave --data-dir and --config out", 2)
    context.default_map = _for_all_in(context.command, given)


def _for_all_in(command: object, given: Mapping[str, str]) -> dict[str, Any]:
    """What stands before a command, as the defaults of every command inside: one of its own goes before it."""
    inside: Mapping[str, object] = getattr(command, "commands", {})
    return {**given, **{name: _for_all_in(each, given) for name, each in inside.items()}}


@app.command()
def serve(data_dir: DataDir = None, config: Config = None) -> None:
    """Run everything in the foreground: MCP over HTTP and SSE, inbound SMTP, the relay, the operator's page."""
    from daimon_mcp.faces.cli.serve import run
    from daimon_mcp.runner import STARTUP_ERRORS, BusyFolder, configured

    settings = settings_of(data_dir, config)
    configured(settings)
    try:
        run(settings)
    except BaseExceptionGroup as group:
        first = _first(group)
        if not isinstance(first, STARTUP_ERRORS):
            raise
        raise fail(str(first)) from None
    except (*STARTUP_ERRORS, BusyFolder) as error:
        raise fail(str(error)) from None


def _first(error: BaseException) -> BaseException:
    """What a task group failed with, at the bottom of it."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


@app.command()
def stop(data_dir: DataDir = None, config: Config = None) -> None:
    """Stop the server of a data folder; the next client starts it again, with the configuration as it is then."""
    from daimon_mcp.paths import data_dir as folder_of
    from daimon_mcp.runner import BusyFolder, stop_owner

    del config  # it may be broken, which is why somebody stops the server; the folder is not said there
    folder = Path(folder_of(os.environ, None if data_dir is None else str(data_dir)))
    try:
        pid = stop_owner(folder)
    except BusyFolder as error:
        raise fail(str(error)) from None
    say(f"Stopped (process {pid})." if pid else f"No server is running on the data folder {folder}.")


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data folder afterwards.")] = False,
) -> None:
    """Show the whole loop on one screen: real server, real sockets, nothing configured."""
    from daimon_mcp.demo import run

    raise typer.Exit(run(keep=keep))


@app.command()
def doctor(
    domain: Annotated[
        str | None, typer.Option(help="Look at this domain from outside instead: DNS records, names, policies.")
    ] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Check config, ports, relay and store, and say what to do."""
    from daimon_mcp.doctor import examine, examine_domain

    settings = settings_of(data_dir, config)
    findings = examine(settings) if domain is None else examine_domain(settings, domain)
    for finding in findings:
        say(
            f"{'ok  ' if finding.ok else 'BAD '} {printable(finding.what)}"
            + (f"\n     {printable(finding.advice)}" if finding.advice else "")
        )
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


@app.command()
def reparse(
    everything: Annotated[bool, typer.Option("--all", help="All mail, not only what older rules have read.")] = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Read stored mail again with today's rules: text, new words, codes, links. May be stopped and started again."""
    after: int | None = 0
    read = missing = 0
    while after is not None:
        done = _ask(data_dir, config, "reparse", after=after, everything=everything)
        after, read, missing = done["next_after"], read + done["read"], missing + done["missing"]
    say(f"Messages read again: {read}." + (f" Messages whose bytes are missing: {missing}." if missing else ""))


@app.command()
def explain(
    message: Annotated[str, typer.Argument(help="Its id, msg_…")],
    recipient: Annotated[str | None, typer.Option(help="Only the attempts for this address.")] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Why a message did or did not arrive: each attempt, what the other server said, and what to do."""
    from daimon_mcp.faces.cli.explained import lines

    for line in lines(_ask(data_dir, config, "explain", message_id=message, recipient=recipient)):
        say(printable(line))


@app.command("config")
def show_config(
    data_dir: DataDir = None,
    config: Config = None,
    example: Annotated[bool, typer.Option("--example", help="Print config.example.toml instead.")] = False,
) -> None:
    """Show the configuration in force, without secrets, and where it comes from."""
    if example:
        from daimon_mcp.settings import example_toml

        sys.stdout.write(example_toml())
        return
    settings = settings_of(data_dir, config)
    say(f"# data folder: {settings.data_dir}")
    say(f"# file: {settings.config_file or 'none (defaults and environment)'}")
    shown = settings.model_dump(mode="json", exclude={"data_dir", "config_file", "api_key"})
    for section, options in shown.items():
        _show_section(section, options)


def _show_section(name: str, options: dict[str, Any]) -> None:
    import json

    say(f"\n[{name}]")
    for key, value in options.items():
        if not isinstance(value, dict):
            say(f"{key} = {json.dumps(value)}" if value is not None else f"# {key} is not set")
    for key, value in options.items():
        if isinstance(value, dict):
            _show_section(f"{name}.{key}", value)  # pyright: ignore[reportUnknownArgumentType]


@operator.command()
def passcode(
    own: Annotated[bool, typer.Option("--own", help="Type one yourself instead of having one made.")] = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Make a new passcode for the approval page; the old one stops working."""
    chosen = None
    if own:
        chosen = typer.prompt("New passcode", hide_input=True, confirmation_prompt=True)
        if len(chosen) < 12:
            raise fail("a passcode has at least 12 characters")
    made = _ask(data_dir, config, "operator.passcode", passcode=chosen)["passcode"]
    say("The passcode is set." if own else f"The new passcode, shown this once: {made}")


@operator.command()
def accounts(data_dir: DataDir = None, config: Config = None) -> None:
    """The accounts on this server."""
    for each in _ask(data_dir, config, "operator.accounts"):
        say(f"{each['id']}  {each['tier']}  {each['status']}  inboxes: {each['inboxes']}  since {each['created_at']}")


@operator.command()
def tier(account: str, tier: str, data_dir: DataDir = None, config: Config = None) -> None:
    """Put an account on a tier (free, starter, pro, enterprise) without a request."""
    changed = _ask(data_dir, config, "operator.tier", account=account, tier=tier)
    say(f"Account {changed['account']} is on {changed['tier']}.")


@operator.command()
def suspend(account: str, data_dir: DataDir = None, config: Config = None) -> None:
    """Suspend an account: its keys stop working, and nothing of it leaves."""
    _ask(data_dir, config, "operator.status", account=account, status="suspended")
    say(f"Account {account} is suspended.")


@operator.command()
def resume(account: str, data_dir: DataDir = None, config: Config = None) -> None:
    """Let a suspended account act again."""
    _ask(data_dir, config, "operator.status", account=account, status="active")
    say(f"Account {account} is active.")


@operator.command("smtp-password")
def smtp_password(
    account: Annotated[str | None, typer.Option(help="Account id; left out, this machine's own.")] = None,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new one; the old one stops working.")] = False,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """The user name and password by which mail programs of an account log in."""
    shown = _ask(data_dir, config, "operator.smtp_password", account=account, rotate=rotate)
    if shown["listening"]:
        say(f"server: {shown['host']}, port {shown['port']} (STARTTLS) or {shown['tls_port']} (TLS)")
    else:
        why = f": {printable(shown['problem'])}" if shown["problem"] else ""
        sys.stderr.write(f"No submission listener runs now{why}.\n")
    say(f"user name: {shown['username']}")
    say(f"password: {shown['password']}")


@operator.command("resume-sending")
def resume_sending(account: str, data_dir: DataDir = None, config: Config = None) -> None:
    """Let an account send again that was stopped because a mail program of it looked abused."""
    done = _ask(data_dir, config, "operator.resume_sending", account=account)
    say(f"Account {done['account']} sends again." if done["resumed"] else f"Account {done['account']} was not stopped.")


@keys.command("list")
def keys_list(
    account: Annotated[str | None, typer.Option(help="Account id; left out, this machine's own.")] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """The keys of an account, without the keys themselves."""
    for each in _ask(data_dir, config, "keys.list", account=account)["keys"]:
        scope = each["inbox"] or "account"
        if each["permissions"] is not None:
            scope += f"  only {','.join(each['permissions'])}"
        say(f"{each['id']}  {each['key']}  {each['status']}  {scope}  {printable(each['name'])}")


@keys.command("create")
def keys_create(
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    inbox: Annotated[str | None, typer.Option(help="Only for this inbox (id or address).")] = None,
    permission: Annotated[
        list[str] | None, typer.Option(help="Only this, such as message_ingest to POST mail to /inbound; repeatable.")
    ] = None,
    every_inbox: Annotated[
        bool, typer.Option("--every-inbox", help="Only to POST mail to /inbound, for inboxes of all accounts.")
    ] = False,
    reply_only: Annotated[
        bool, typer.Option("--reply-only", help="Only to read, and to answer those who wrote.")
    ] = False,
    expires_at: Annotated[str | None, typer.Option(help="When it ends, such as 2027-01-01T00:00:00Z.")] = None,
    account: Annotated[str | None, typer.Option(help="Account id; left out, this machine's own.")] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Make a key; it is shown this once."""
    if every_inbox and (inbox or account or permission or reply_only or expires_at):
        raise fail("--every-inbox is of all accounts, and for mail that is handed in alone", 2)
    made = _ask(
        data_dir,
        config,
        "keys.create",
        name=name,
        inbox=inbox,
        account=account,
        permissions=permission,
        every_inbox=every_inbox,
        reply_only=reply_only,
        expires_at=expires_at,
    )
    say(made["api_key"])
    sys.stderr.write(f"Key {made['id']} of account {made['account']}; it is not shown again.\n")


@keys.command("rotate")
def keys_rotate(
    key_id: str,
    overlap: Annotated[int, typer.Option(min=0, max=604_800, help="Seconds that the old one still works.")] = 3600,
    account: Annotated[str | None, typer.Option(help="Account id; left out, this machine's own.")] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Make a new key in the place of an old one; it is shown this once."""
    made = _ask(data_dir, config, "keys.rotate", id=key_id, overlap_seconds=overlap, account=account)
    say(made["api_key"])
    sys.stderr.write(f"Key {made['id']} replaces {made['replaces']}, which ends at {made['old_expires_at']}.\n")


@keys.command("revoke")
def keys_revoke(
    key_id: str,
    account: Annotated[str | None, typer.Option(help="Account id; left out, this machine's own.")] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """End a key at once."""
    revoked = _ask(data_dir, config, "keys.revoke", id=key_id, account=account)
    say(f"Revoked {revoked['id']}.")


def printable(text: str) -> str:
    """An agent's words on a terminal: no control characters, so that they cannot move the cursor or forge lines."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _say_printable(text: str) -> None:
    say(printable(text))


add_approval_commands(operator, _ask, _say_printable)
app.add_typer(audit_group(_ask, _say_printable), name="audit")
app.add_typer(domain_group(_ask, _say_printable), name="domain")
app.add_typer(queue_group(_ask, _say_printable), name="queue")
app.add_typer(suppressions_group(_ask, _say_printable), name="suppressions")
