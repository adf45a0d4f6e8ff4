"""Addresses of the network that a server may connect to on a client's word: those of the public internet alone."""

from __future__ import annotations

import ipaddress


def is_public(address: str) -> bool:
    """Return True for an address of the public internet, for one that holds an IPv4 address if that is public too."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return all(_is_global(one) for one in (parsed, *_held(parsed)))


def _held(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses inside an IPv6 address: mapped, 6to4, Teredo's two."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    held = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    return [one for one in held if one is not None]


def _is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    # A multicast address counts as global in the library; a mapped one is what its IPv4 address is.
    mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
    special = (
        address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
        or address.is_unspecified or address.is_reserved
    )  # fmt: skip
    return mapped or (address.is_global and not special)
