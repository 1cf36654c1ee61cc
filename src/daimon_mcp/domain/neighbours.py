"""Whose tries over the network are counted together."""

from __future__ import annotations

import ipaddress

LOOPBACK = "loopback"


def neighbourhood(address: str) -> str:
    """This machine is one (`LOOPBACK`), and so is an IPv6 /64; what is no address stays as it is."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_loopback:
        return LOOPBACK
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)
