"""The parts of README.md that the code writes: tools, routes, commands, refusals, the demo's transcript.

`tests/test_contracts_readme.py` checks them; `make generate` writes them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import typer
import typer.models

ROOT = Path(__file__).parents[1]
_SECTION = re.compile(r"(<!-- begin:(\w+)[^>]*-->\n).*?(<!-- end:\2 -->)", re.DOTALL)


def tools() -> str:
    """A table of all tools."""
    from daimon_mcp.faces.mcp.tools import ALL

    rows = ["| tool | profile | changes things | what it does |", "|---|---|---|---|"]
    for tool in ALL:
        first = tool.description.split(". ")[0].rstrip(".")
        kind = "no" if tool.reads else "cannot be undone" if tool.destroys else "yes"
        rows.append(f"| `{tool.name}` | {'core' if tool.core else 'full'} | {kind} | {first} |")
    return "\n".join(rows)


def routes() -> str:
    """A table of all routes of REST."""
    from daimon_mcp.faces.rest.table import ROUTES

    rows = ["| request | does |", "|---|---|"]
    rows += [f"| `{each.method} {each.path}` | {each.summary} |" for each in ROUTES]
    return "\n".join(rows)


def refusals() -> str:
    """A table of all refusals."""
    from daimon_mcp.domain.refusals import RefusalCode
    from daimon_mcp.texts import Texts

    texts = Texts()
    rows = ["| `error` | message |", "|---|---|"]
    for code in RefusalCode:
        message = texts.text("refusals", code).prose("message")
        message = re.sub(r"\{(\w+)\|[^|{}]+\|([^|{}]+)\}", r"*\1* \2", message)
        message = re.sub(r"\{(\w+)\}", r"*\1*", message)
        rows.append(f"| `{code}` | {message} |")
    return "\n".join(rows)


def commands() -> str:
    """A table of all commands, each with the first line of its help."""
    from daimon_mcp.faces.cli import app

    rows = ["| command | does |", "|---|---|"]
    rows.append("| `daimon-mcp` | The stdio server: what an MCP client starts. |")

    def add(commands: list[typer.models.CommandInfo], prefix: str) -> None:
        for command in commands:
            assert command.callback is not None
            name = command.name or command.callback.__name__
            rows.append(f"| `daimon-mcp {prefix}{name}` | {(command.callback.__doc__ or '').strip()} |")

    add(app.registered_commands, "")
    for group in app.registered_groups:
        assert group.typer_instance is not None
        add(group.typer_instance.registered_commands, f"{group.name} ")
    return "\n".join(rows)


@cache
def demo() -> str:
    """The transcript of a real run, with what differs from run to run made the same."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DAIMON_")}
    done = subprocess.run(
        [sys.executable, "-m", "daimon_mcp", "demo"], capture_output=True, text=True, check=False, env=environ
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    story = done.stdout.partition("Connect your own client")[0].strip()
    story = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8370", story)
    story = re.sub(r"in \d+ seconds\.$", "in 5 seconds.", story)
    return f"```text\n{story}\n```"


SECTIONS: Mapping[str, Callable[[], str]] = {
    "tools": tools,
    "routes": routes,
    "refusals": refusals,
    "commands": commands,
    "demo": demo,
}


def rendered(text: str) -> str:
    """README.md with every generated part made anew."""
    return _SECTION.sub(lambda match: f"{match[1]}{SECTIONS[match[2]]()}\n{match[3]}", text)
