"""Reads an SPF record (RFC 7208 §4.5, §4.6, §12): its terms, all of them checked before any is used."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

Qualifier = Literal["pass", "fail", "softfail", "neutral"]
Mechanism = Literal["all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_RECORD = 4_096  # octets; longer ones do not come from people who publish mail policies

_QUALIFIERS: dict[str, Qualifier] = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)
_DIRECTIVE = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9_.-]*)(.*)", re.DOTALL)
_CIDR = re.compile(r"(.*?)(?:/(0|[1-9]\d?))?(?://(0|[1-9]\d{0,2}))?", re.DOTALL)
_MACRO = r"%(?:[%_-]|\{[slodiphcrtvSLODIPHCRTV][0-9]{0,3}[rR]?[-.+,/_=]*\})"
_MACRO_STRING = re.compile(rf"(?:[!-$&-~]|{_MACRO})*")
# It ends in a label that is not all digits, or in a macro.
_DOMAIN_SPEC = re.compile(
    rf"(?:[!-$&-~]|{_MACRO})*?"
    rf"(?:\.(?![0-9]+\.?\Z)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?|{_MACRO})"
)
_EXPLANATION_ONLY = re.compile(r"%\{[crtCRT]")
_ZERO_PARTS = re.compile(r"%\{[A-Za-z]0+[rR]?[-.+,/_=]*\}")


class RecordError(Exception):
    """The record breaks the grammar: the result is permerror."""


@dataclass(frozen=True, slots=True)
class Directive:
    """A mechanism with its qualifier. `domain` is a domain-spec with macros, "" for none; `network` of ip4 and ip6;
    prefixes of `a` and `mx`."""

    qualifier: Qualifier
    mechanism: Mechanism
    domain: str = ""
    network: Network | None = None
    prefix4: int = 32
    prefix6: int = 128


@dataclass(frozen=True, slots=True)
class Record:
    """Directives in order, and the domain-spec of `redirect=`, "" for none."""

    directives: tuple[Directive, ...]
    redirect: str = ""


def is_record(text: bytes) -> bool:
    """Whether a TXT record claims to be an SPF policy."""
    return text[:7].lower() == b"v=spf1 " or text.lower() == b"v=spf1"


def read_record(text: bytes) -> Record:
    """The terms of a record for which `is_record` holds. Raises RecordError for any error in any of them."""
    if len(text) > MAX_RECORD:
        raise RecordError("the record is too long")
    try:
        terms = text.decode("ascii")[6:].split(" ")
    except UnicodeDecodeError as error:
        raise RecordError("the record is not ASCII") from error
    directives: list[Directive] = []
    modifiers: dict[str, str] = {}
    for term in terms:
        if not term:
            continue
        modifier = _MODIFIER.fullmatch(term)
        if modifier is None:
            directives.append(_directive(term))
            continue
        name, value = modifier[1].lower(), modifier[2]
        if name in ("redirect", "exp"):
            if name in modifiers:
                raise RecordError(f"{name}= stands twice")
            modifiers[name] = _domain_spec(value)
        elif not _MACRO_STRING.fullmatch(value) or _ZERO_PARTS.search(value):
            raise RecordError("a modifier with a broken macro")
    return Record(tuple(directives), modifiers.get("redirect", ""))


def _domain_spec(text: str) -> str:
    if not _DOMAIN_SPEC.fullmatch(text) or _EXPLANATION_ONLY.search(text) or _ZERO_PARTS.search(text):
        raise RecordError("a domain that is none")
    return text


def _directive(term: str) -> Directive:
    match = _DIRECTIVE.fullmatch(term)
    if match is None:
        raise RecordError("a term that is none")
    qualifier, name, rest = _QUALIFIERS[match[1] or "+"], match[2].lower(), match[3]
    if name == "all" and not rest:
        return Directive(qualifier, "all")
    if name in ("include", "exists") and rest.startswith(":"):
        return Directive(qualifier, "include" if name == "include" else "exists", _domain_spec(rest[1:]))
    if name == "ptr" and (not rest or rest.startswith(":")):
        return Directive(qualifier, "ptr", _domain_spec(rest[1:]) if rest else "")
    if name in ("a", "mx") and (not rest or rest[0] in ":/"):
        return _address_directive(qualifier, "a" if name == "a" else "mx", rest)
    if name in ("ip4", "ip6") and rest.startswith(":"):
        return Directive(qualifier, "ip4" if name == "ip4" else "ip6", network=_network(name, rest[1:]))
    raise RecordError("an unknown mechanism")


def _address_directive(qualifier: Qualifier, mechanism: Mechanism, rest: str) -> Directive:
    match = _CIDR.fullmatch(rest)
    assert match is not None  # it matches anything
    domain, prefix4, prefix6 = match[1], int(match[2] or 32), int(match[3] or 128)
    if prefix4 > 32 or prefix6 > 128:
        raise RecordError("a prefix that is too long")
    if domain and not domain.startswith(":"):
        raise RecordError("a prefix that is none")
    return Directive(qualifier, mechanism, _domain_spec(domain[1:]) if domain else "", None, prefix4, prefix6)


def _network(name: str, text: str) -> Network:
    address, slash, prefix = text.partition("/")
    if slash and (not prefix.isdecimal() or (len(prefix) > 1 and prefix[0] == "0")):
        raise RecordError("a prefix that is none")
    try:
        if name == "ip4":
            return ipaddress.IPv4Network(f"{address}/{prefix or 32}", strict=False)
        if "%" in address:
            raise RecordError("an address with a zone")
        return ipaddress.IPv6Network(f"{address}/{prefix or 128}", strict=False)
    except ValueError as error:
        raise RecordError("an address that is none") from error
