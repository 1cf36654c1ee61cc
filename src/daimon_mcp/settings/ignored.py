"""Options that are set and have no effect, because another one that they need is not: a mistake nobody would notice."""

from __future__ import annotations

from collections.abc import Iterable

from daimon_mcp.settings.model import Settings


def ignored(settings: Settings) -> list[tuple[str, str]]:
    """What is set in vain, and what to do about it: sentences for operators, without any value that was given."""
    relay, upstream = settings.relay, settings.upstream
    found: list[tuple[str, str]] = []
    login = {"host", "username", "password"} & relay.model_fields_set
    if relay.mode != "host" and login:
        what = f'[relay] {_listed(login)} {_are(login)} ignored: mode is "{relay.mode}", and no relay is used'
        found.append((what, 'Set [relay] mode to "host" to send through the relay, or take them out.'))
    if relay.mode == "host" and relay.host is None and login:
        what = f"[relay] {_listed(login)} {_are(login)} ignored: host is not set, and no mail leaves"
        found.append((what, "Set [relay] host."))
    if upstream.host is None and upstream.model_fields_set - {"host"}:
        given = upstream.model_fields_set - {"host"}
        what = f"[upstream] {_listed(given)} {_are(given)} ignored: host is not set, and no mail is fetched"
        found.append((what, "Set [upstream] host, or take the section out."))
    return found


def _listed(names: Iterable[str]) -> str:
    *others, last = sorted(names)
    return f"{', '.join(others)} and {last}" if others else last


def _are(names: set[str]) -> str:
    return "is" if len(names) == 1 else "are"
