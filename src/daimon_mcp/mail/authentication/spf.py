"""Checks SPF (RFC 7208): may this client send mail for this domain?

Explanations (`exp=`) are checked but not fetched: nobody here would be shown a stranger's words.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from daimon_mcp.mail.authentication.lookup import BoundedLookup, LookupFailed, ascii_domain
from daimon_mcp.mail.authentication.spf_record import Directive, RecordError, is_record, read_record

SpfWord = Literal["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]

MAX_TERMS = 10  # that ask DNS, RFC 7208 §4.6.4
MAX_VOID = 2  # lookups without an answer
_MAX_NAMES = 10  # of one mx or ptr
_MACRO = re.compile(r"%(?:([%_-])|\{([A-Za-z])([0-9]*)([rR]?)([-.+,/_=]*)\})")
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}


@dataclass(frozen=True, slots=True)
class SpfResult:
    """The result for `domain`, which the client gave in MAIL FROM (`scope` mailfrom) or, with a null sender, in HELO;
    `reason` says why where that is not plain."""

    result: SpfWord
    domain: str = ""
    scope: Literal["mailfrom", "helo"] = "mailfrom"
    reason: str = ""


class _Stop(Exception):
    """Ends the evaluation with a result."""

    def __init__(self, result: Literal["temperror", "permerror"], reason: str) -> None:
        super().__init__(reason)
        self.result: Literal["temperror", "permerror"] = result
        self.reason = reason


def check_spf(peer_ip: str, helo: str, mail_from: str, lookup: BoundedLookup) -> SpfResult:
    """`mail_from` is the reverse-path, "" for the null sender. Never raises."""
    scope: Literal["mailfrom", "helo"] = "mailfrom" if mail_from else "helo"
    sender = mail_from or f"postmaster@{helo}"
    local, _, host = sender.rpartition("@")
    domain = ascii_domain(host)
    try:
        address = ipaddress.ip_address(peer_ip.partition("%")[0])
    except ValueError:
        return SpfResult("none", domain, scope, "the client has no address")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if not domain:
        return SpfResult("none", "", scope, "no domain")
    check = _Check(address, helo, local or "postmaster", domain, lookup)
    try:
        return SpfResult(check.evaluate(domain), domain, scope)
    except _Stop as stop:
        return SpfResult(stop.result, domain, scope, stop.reason)


class _Check:
    """One check_host() with its budget (RFC 7208 §4)."""

    def __init__(
        self,
        address: ipaddress.IPv4Address | ipaddress.IPv6Address,
        helo: str,
        local: str,
        origin: str,
        lookup: BoundedLookup,
    ) -> None:
        self._address = address
        self._helo = helo
        self._local = local
        self._origin = origin
        self._lookup = lookup
        self._terms = 0
        self._voids = 0
        self._matches: dict[str, Callable[[Directive, str], bool]] = {
            "include": self._include,
            "a": self._a,
            "mx": self._mx,
            "ptr": self._ptr,
            "exists": self._exists,
        }

    def evaluate(self, domain: str) -> SpfWord:
        """The result of a domain's policy; raises _Stop for the two errors."""
        try:
            records = [text for text in self._lookup.texts(domain) if is_record(text)]
        except LookupFailed as error:
            raise _Stop("temperror", "DNS gave no answer") from error
        if not records:
            return "none"
        if len(records) > 1:
            raise _Stop("permerror", "more than one policy")
        try:
            record = read_record(records[0])
        except RecordError as error:
            raise _Stop("permerror", str(error)) from error
        for directive in record.directives:
            if self._match(directive, domain):
                return directive.qualifier
        if not record.redirect:
            return "neutral"
        self._count()
        target = ascii_domain(self._expand(record.redirect, domain))
        result = self.evaluate(target) if target else "none"
        if result == "none":
            raise _Stop("permerror", "redirect= leads to no policy")
        return result

    def _match(self, directive: Directive, domain: str) -> bool:
        if directive.mechanism == "all":
            return True
        if directive.network is not None:
            return self._address.version == directive.network.version and self._address in directive.network
        self._count()
        target = self._expand(directive.domain, domain) if directive.domain else domain
        return self._matches[directive.mechanism](directive, target)

    def _count(self) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise _Stop("permerror", f"more than {MAX_TERMS} terms that ask DNS")

    def _ask(self, name: str, type: str) -> list[str]:
        """Records at a name; empty answers count. Raises _Stop."""
        try:
            found = self._lookup.values(name, type)
        except LookupFailed as error:
            raise _Stop("temperror", "DNS gave no answer") from error
        if not found:
            self._voids += 1
            if self._voids > MAX_VOID:
                raise _Stop("permerror", f"more than {MAX_VOID} lookups without an answer")
        return found

    def _addresses(self, name: str) -> list[str]:
        return self._ask(name, "A" if self._address.version == 4 else "AAAA")

    def _within(self, text: str, directive: Directive) -> bool:
        prefix = directive.prefix4 if self._address.version == 4 else directive.prefix6
        try:
            network = ipaddress.ip_network(f"{text}/{prefix}", strict=False)
        except ValueError:
            return False
        return network.version == self._address.version and self._address in network

    def _include(self, _: Directive, target: str) -> bool:
        name = ascii_domain(target)
        result = self.evaluate(name) if name else "none"
        if result == "none":
            raise _Stop("permerror", "include: leads to no policy")
        return result == "pass"

    def _a(self, directive: Directive, target: str) -> bool:
        return any(self._within(text, directive) for text in self._addresses(target))

    def _mx(self, directive: Directive, target: str) -> bool:
        hosts = self._ask(target, "MX")
        if len(hosts) > _MAX_NAMES:
            raise _Stop("permerror", f"more than {_MAX_NAMES} mail servers")
        return any(self._within(text, directive) for host in hosts if host for text in self._addresses(host))

    def _exists(self, _: Directive, target: str) -> bool:
        return bool(self._ask(target, "A"))

    def _ptr(self, _: Directive, target: str) -> bool:
        wanted = target.lower().removesuffix(".")
        return any(name == wanted or name.endswith("." + wanted) for name in self._validated_names())

    def _validated_names(self) -> list[str]:
        """The client's names that lead back to it (RFC 7208 §5.5). An answer that fails only makes there be fewer."""
        try:
            names = self._ask(self._address.reverse_pointer, "PTR")[:_MAX_NAMES]
        except _Stop as stop:
            if stop.result == "permerror":
                raise
            return []
        validated: list[str] = []
        for name in names:
            try:
                found = self._addresses(name)
            except _Stop as stop:
                if stop.result == "permerror":
                    raise
                continue
            if any(self._within(text, Directive("pass", "ptr")) for text in found):
                validated.append(name)
        return validated

    def _expand(self, spec: str, domain: str) -> str:
        """A domain-spec with its macros replaced (RFC 7208 §7), cut from the left to 253 characters."""
        name = _MACRO.sub(lambda macro: self._macro(macro, domain), spec) if "%" in spec else spec
        name = name.removesuffix(".")
        while len(name) > 253 and "." in name:
            name = name.partition(".")[2]
        return name

    def _macro(self, macro: re.Match[str], domain: str) -> str:
        if macro[1]:
            return _ESCAPES[macro[1]]
        value = self._letter(macro[2].lower(), domain)
        if macro[3] or macro[4] or macro[5]:
            parts = re.split(f"[{re.escape(macro[5] or '.')}]", value)
            if macro[4]:
                parts.reverse()
            value = ".".join(parts[-int(macro[3]) :] if macro[3] else parts)
        return quote(value, safe="") if macro[2].isupper() else value

    def _letter(self, letter: str, domain: str) -> str:
        if letter == "p":
            return self._name_of_client(domain)
        v4 = self._address.version == 4
        values = {
            "s": f"{self._local}@{self._origin}",
            "l": self._local,
            "o": self._origin,
            "d": domain,
            "h": self._helo,
            "v": "in-addr" if v4 else "ip6",
            "i": str(self._address) if v4 else ".".join(self._address.exploded.replace(":", "")),
        }
        return values[letter]

    def _name_of_client(self, domain: str) -> str:
        """%{p}: the validated name that is nearest to the domain, or `unknown` (RFC 7208 §7.3)."""
        names = self._validated_names()
        below = [name for name in names if name.endswith("." + domain)]
        return domain if domain in names else next(iter(below or names), "unknown")
