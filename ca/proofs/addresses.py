"""Where keys may be fetched from: a URL in its one plain spelling, and addresses that are nobody's inside.

Pure. What is private, of this machine or of this link is refused unless the configuration names it, so that a
document that an issuer publishes, or whoever answers for its name, cannot make this authority knock at doors
behind its own firewall (server-side request forgery).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_URL = re.compile(
    r"https://(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9.-]{1,253})(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<target>(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-F]{2})*)*(?:\?(?:[A-Za-z0-9._~!$&'()*+,;=:/?-]|%[0-9A-F]{2})*)?)"
)
_MAX_URL = 1024
_DOTS = re.compile(r"(?:\.|%2E){1,2}", re.IGNORECASE)

# The IPv4 special-purpose registry (RFC 6890) with what came after it; multicast and the reserved rest.
_NOBODYS_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    )
)
# Of IPv6 only what is global unicast (RFC 4291 2.4, IANA 2000::/3), less what in it is special (RFC 6890) or wraps
# an IPv4 address: so neither ::ffff:0:0/96 nor 64:ff9b::/96 (NAT64, RFC 6052), 2002::/16 (6to4) or 2001::/32 (Teredo).
_GLOBAL_6 = IPv6Network("2000::/3")
_NOBODYS_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")))
# What naming a host opens; link-local addresses, where a cloud's metadata answers, must be named themselves.
_INSIDE = tuple(
    map(
        ip_network, ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1", "fc00::/7")
    )
)


class NotAllowed(ValueError):  # noqa: N818 (a refusal)
    """A URL or an address from which nothing is fetched: a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Location:
    """An https URL, taken apart."""

    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """One spelling only: no user, no fragment, no upper case in the host, no number that is also an address.

        Raises `NotAllowed`.
        """
        parts = _URL.fullmatch(text) if len(text) <= _MAX_URL else None
        if parts is None:
            raise NotAllowed("must be a plain https URL, without a user or a fragment, its host in lower case")
        if any(_DOTS.fullmatch(segment) for segment in parts["target"].partition("?")[0].split("/")):
            raise NotAllowed("must not have '.' or '..' in its path")
        port = int(parts["port"] or 443)
        if port > 65535:
            raise NotAllowed("must have a port up to 65535")
        return cls(host(parts["host"]), port, parts["target"])

    @property
    def literal(self) -> Address | None:
        """The host where it is an address itself."""
        return _literal(self.host)

    @property
    def authority(self) -> str:
        """What the Host header says (RFC 9110 7.2)."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == 443 else f"{name}:{self.port}"

    def at(self, address: Address) -> str:
        """The same URL with this address in place of the name, which is then resolved by nobody else."""
        name = f"[{address}]" if address.version == 6 else str(address)
        return f"https://{name}:{self.port}{self.target}"


@dataclass(frozen=True, slots=True)
class Inside:
    """What of the inside the configuration names: hosts, and networks."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, named: Iterable[str]) -> Self:
        """Host names, addresses, and networks such as `10.0.0.0/8`. Raises `NotAllowed`."""
        hosts: set[str] = set()
        networks: list[Network] = []
        for text in named:
            network = _network(text)
            if network is None:
                hosts.add(host(text))
            else:
                networks.append(network)
        return cls(frozenset(hosts), tuple(networks))

    def check(self, name: str, address: Address) -> None:
        """Whether a connection may be made to this address, which the host has. Raises `NotAllowed`."""
        if _is_global(address) or any(address in network for network in self.networks):
            return
        if name not in self.hosts or not any(address in network for network in _INSIDE):
            raise NotAllowed(f"{name} has the address {address}, which is private or special and was not named")


def host(text: str) -> str:
    """A host name or address in its one spelling, an IPv6 address without its brackets. Raises `NotAllowed`."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    literal = _literal(bare)
    if literal is not None:
        if str(literal) != bare or (literal.version == 6) != (bare != text):
            raise NotAllowed(f"must write the address {text} as {literal}, one of version 6 in brackets")
        return bare
    # A last label of digits, or 0x and digits, is an address to some resolvers (the URL Standard's "ends in a number").
    last = text.rpartition(".")[2]
    if not _NAME.fullmatch(text) or len(text) > 253 or last.isdigit() or last.startswith("0x"):
        raise NotAllowed("must have a host name of lower-case labels, or an address")
    return text


def address(text: str) -> Address:
    """An address as the resolver gave it. Raises `NotAllowed` for one with a zone (RFC 4007 11)."""
    found = _literal(text)
    if found is None:
        raise NotAllowed("the resolver gave no plain address")
    return found


def _literal(text: str) -> Address | None:
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> Network | None:
    try:
        return None if "%" in text else ip_network(text)
    except ValueError:
        return None


def _is_global(one: Address) -> bool:
    if isinstance(one, IPv4Address):
        return not any(one in network for network in _NOBODYS_4)
    return one in _GLOBAL_6 and not any(one in network for network in _NOBODYS_6)
