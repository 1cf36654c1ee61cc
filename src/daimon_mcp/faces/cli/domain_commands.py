"""`daimon-mcp domain …`: domains of accounts and of the configuration, their DNS records and keys."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="The data folder.", show_default=False)]
Config = Annotated[Path | None, typer.Option("--config", help="Path of config.toml.", show_default=False)]
Name = Annotated[str, typer.Argument(help="Its name.")]
Account = Annotated[str | None, typer.Option(help="Account id, where several ask for the domain.")]


def domain_group(ask: Callable[..., Any], say: Callable[[str], None]) -> typer.Typer:
    """The group of commands; `ask` asks the owner (data folder, config, method, parameters), `say` prints a line."""
    domain = typer.Typer(
        help="Domains of accounts, and of this server: DNS records, checks, keys.", no_args_is_help=True
    )

    def show_view(view: Any) -> None:
        from daimon_mcp.faces.cli.domain_lines import lines

        for line in lines(view):
            say(line)

    @domain.command()
    def add(
        name: Name,
        account: Annotated[str | None, typer.Option(help="Account id; left out, this machine's own.")] = None,
        data_dir: DataDir = None,
        config: Config = None,
    ) -> None:
        """Add a domain to an account, within the limits of its tier; the DNS records to publish are shown."""
        show_view(ask(data_dir, config, "domain.add", domain=name, account=account))

    @domain.command("list")
    def list_(data_dir: DataDir = None, config: Config = None) -> None:
        """The domains of this server and of its accounts."""
        for each in ask(data_dir, config, "domain.list"):
            whose = f"account {each['account']}  {each['id']}" if each["account"] else ""
            say(f"{each['domain']}  {each['status']}  {whose}".rstrip())

    @domain.command()
    def show(name: Name, account: Account = None, data_dir: DataDir = None, config: Config = None) -> None:
        """A domain, and what the last check of its DNS records found."""
        show_view(ask(data_dir, config, "domain.show", domain=name, account=account))

    @domain.command()
    def records(name: Name, account: Account = None, data_dir: DataDir = None, config: Config = None) -> None:
        """The DNS records to publish, as lines of a zone file."""
        from daimon_mcp.faces.cli.domain_lines import warning

        view = ask(data_dir, config, "domain.show", domain=name, account=account)
        for line in warning(view):
            sys.stderr.write(f"; {line}\n")
        sys.stdout.write(view["zone_file"])

    @domain.command()
    def verify(name: Name, account: Account = None, data_dir: DataDir = None, config: Config = None) -> None:
        """Look for a domain's records in the DNS. Exit status 1 when a required one is not right."""
        view = ask(data_dir, config, "domain.verify", domain=name, account=account)
        show_view(view)
        if any(record["required"] and record["state"] != "ok" for record in view["dns_records"]):
            raise typer.Exit(1)

    @domain.command()
    def remove(name: Name, account: Account = None, data_dir: DataDir = None, config: Config = None) -> None:
        """Take a domain away from an account; it must have no inboxes on it."""
        removed = ask(data_dir, config, "domain.remove", domain=name, account=account)
        say(f"Removed {removed['domain']} from account {removed['account']}.")

    @domain.command("rotate-key")
    def rotate_key(name: Name, data_dir: DataDir = None, config: Config = None) -> None:
        """Make new DKIM keys for a domain. The old ones sign until a check finds the new ones in the DNS."""
        made = ask(data_dir, config, "domain.rotate", domain=name)
        sys.stdout.write(made["zone_file"])
        say("")
        say(f"Publish these beside the old ones, then: daimon-mcp domain verify {made['domain']}")
        say("Leave the old ones in the DNS for a week after that: mail on its way is signed with them.")

    _ = (add, list_, show, records, verify, remove, rotate_key)
    return domain
