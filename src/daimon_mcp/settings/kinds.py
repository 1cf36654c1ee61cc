"""Kinds of values that options have: what is accepted, and the one form it is kept in.

Each takes the text of an option and gives it back tidied. What is wrong with it is said without the text itself.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, DirectoryPath, FilePath
from pydantic_core import PydanticCustomError

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*/?^_`{|}~+-]{1,64}")
_ADDRESS_WITH_PORT = re.compile(r"(?:\[([^\]]+)\]|([0-9.]+)):([0-9]{1,5})")


def _is_domain(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= 253 and all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


def _domain(text: str) -> str:
    lowered = text.strip().lower().removesuffix(".")
    if not _is_domain(lowered):
        raise ValueError("must be a domain name in ASCII, with xn-- labels for other scripts")
    return lowered


def _host(text: str) -> str:
    lowered = text.strip().lower()
    try:
        return str(ipaddress.ip_address(lowered))
    except ValueError:
        pass
    if not _is_domain(lowered):
        raise ValueError("must be an IP address or a host name, without scheme or port")
    return lowered


def _name_server(text: str) -> str:
    found = _ADDRESS_WITH_PORT.fullmatch(text.strip())
    host, port = (found[1] or found[2], found[3]) if found else (text.strip(), None)
    try:
        address = str(ipaddress.ip_address(host))
        if port is None:
            return address
        if not 0 < int(port) < 65_536:
            raise ValueError
    except ValueError:
        raise ValueError("must be an IP address, or one with :port (IPv6 then in brackets)") from None
    return f"{bracketed(address)}:{int(port)}"


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise ValueError("must be an IP address, or a network like 10.0.0.0/8") from None


def _url(text: str) -> str:
    try:
        url = urlsplit(text.strip())
        usable = url.scheme in {"http", "https"} and url.hostname and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
        url = urlsplit("")
    if not usable or url.username is not None or url.query or url.fragment:
        raise ValueError("must be an http or https URL without user name, query or fragment")
    return url.geturl().rstrip("/")


def _address(text: str) -> str:
    local, at, domain = text.strip().rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local):
        raise ValueError("must be an email address")
    return f"{local.lower()}@{_domain(domain)}"


def _inbox_name(text: str) -> str:
    if "@" in text:
        return _address(text)
    lowered = text.strip().lower()
    if not _LOCAL_PART.fullmatch(lowered):
        raise ValueError("must be the address of an inbox, or the part of it before the @")
    return lowered


def _tag(text: str) -> str:
    tag, equals, inbox = text.partition("=")
    tag = tag.strip().lower()
    if not equals or not _LOCAL_PART.fullmatch(tag):
        raise ValueError("must be tags with their inboxes, as in tag=inbox")
    return f"{tag}={_inbox_name(inbox)}"


def _after(text: str) -> str:
    choice, colon, folder = text.strip().partition(":")
    if not colon and choice.lower() in {"keep", "seen", "delete"}:
        return choice.lower()
    if choice.lower() == "move" and folder.strip() and folder.isprintable():
        return f"move:{folder.strip()}"
    raise ValueError('must be "keep", "seen", "delete" or "move:FOLDER"')


def _folder_name(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be the name of a folder")
    return text.strip()


def _whole(value: object) -> object:
    if isinstance(value, bool):  # which Python would take for 0 or 1
        raise PydanticCustomError("int_type", "must be a whole number")
    return value


def _items(value: object) -> object:
    """A list, or in the environment its items with commas between."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _user_path(value: object) -> object:
    return os.path.expanduser(value) if isinstance(value, str) else value


Domain = Annotated[str, AfterValidator(_domain)]
Host = Annotated[str, AfterValidator(_host)]
Url = Annotated[str, AfterValidator(_url)]
MailAddress = Annotated[str, AfterValidator(_address)]
InboxName = Annotated[str, AfterValidator(_inbox_name)]
FolderName = Annotated[str, AfterValidator(_folder_name)]
After = Annotated[str, AfterValidator(_after)]
Tag = Annotated[str, AfterValidator(_tag)]
Tags = Annotated[tuple[Tag, ...], BeforeValidator(_items)]
NameServer = Annotated[str, AfterValidator(_name_server)]
Network = Annotated[str, AfterValidator(_network)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_items)]
Whole = Annotated[int, BeforeValidator(_whole)]
Names = Annotated[tuple[str, ...], BeforeValidator(_items)]
NameServers = Annotated[tuple[NameServer, ...], BeforeValidator(_items)]
Domains = Annotated[tuple[Domain, ...], BeforeValidator(_items)]
ExistingFile = Annotated[FilePath, BeforeValidator(_user_path), AfterValidator(Path.absolute)]
AnyFolder = Annotated[Path, BeforeValidator(_user_path), AfterValidator(Path.absolute)]
ExistingFolder = Annotated[DirectoryPath, BeforeValidator(_user_path), AfterValidator(Path.absolute)]


def bracketed(host: str) -> str:
    """A host as URLs and Host headers write it."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
