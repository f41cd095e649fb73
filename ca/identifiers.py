"""Names that cross a border: parsed once, immutable, never a bare string inside.

Each type accepts exactly one spelling. What fails to parse is refused with
`Reason.MALFORMED` and a sentence that names the rule.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from ca.refusals import Reason, Refused

SERIAL_MAX_OCTETS = 20  # RFC 5280 4.1.2.2

MAX_NAME = 63
"""Characters of a registry name."""

_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME - 1}}}")
_SERIAL = re.compile(r"[0-9a-f]{1,40}")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


class _Name(str):
    """A registry name: lower-case letters, digits, `.`, `_` and `-`, at most 63 of them.

    The alphabet is that of a SPIFFE path segment without upper case, so that one name has one
    spelling in the database, the subject, the SAN and a URL; `.` and `..` alone cannot occur,
    because the first character is a letter or a digit.
    """

    __slots__ = ()
    noun = "name"

    def __new__(cls, text: str) -> Self:
        if not _NAME.fullmatch(text):
            raise Refused(
                Reason.MALFORMED,
                f"The {cls.noun} must be 1 to {MAX_NAME} lower-case letters, digits, '.', '_' or '-', "
                "and begin with a letter or a digit.",
            )
        return super().__new__(cls, text)


class TenantId(_Name):
    """A tenant: the OU of its agents' subjects."""

    noun = "tenant"


class AgentId(_Name):
    """An agent within its tenant: the CN of its subject."""

    noun = "agent"


class TaskId(_Name):
    """A task within its tenant."""

    noun = "task"


class OperatorName(_Name):
    """An operator of the authority: a person or a service with a role."""

    noun = "operator"


class TrustDomain(str):
    """A SPIFFE trust domain: lower-case DNS labels, at most 255 characters (SPIFFE-ID 2.1).

    Stricter than SPIFFE where TLS stacks are: Java cannot parse certificates of a domain with an
    underscore, nor Go those of one whose last label is a number, which reads as an address.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if len(text) > 255 or not _DOMAIN.fullmatch(text) or text.rpartition(".")[2].isdigit():
            raise Refused(
                Reason.MALFORMED,
                "The trust domain must be lower-case DNS labels joined by dots, the last of them not a number.",
            )
        return super().__new__(cls, text)


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """`spiffe://<trust domain>/<kind>/...`: the one SAN of every certificate for a workload or an operator."""

    uri: str

    @classmethod
    def agent(cls, domain: TrustDomain, tenant: TenantId, agent: AgentId) -> SpiffeId:
        """The identity of an agent, stable for its life."""
        return cls(f"spiffe://{domain}/agent/{tenant}/{agent}")

    @classmethod
    def operator(cls, domain: TrustDomain, name: OperatorName) -> SpiffeId:
        """The identity of an operator."""
        return cls(f"spiffe://{domain}/operator/{name}")

    @property
    def path(self) -> str:
        """What follows the trust domain, which a new configuration may name otherwise."""
        return self.uri.removeprefix("spiffe://").partition("/")[2]

    def __str__(self) -> str:
        return self.uri


@dataclass(frozen=True, slots=True, order=True)
class Serial:
    """A certificate's serial number: a positive integer of at most 20 octets (RFC 5280 4.1.2.2)."""

    number: int

    def __post_init__(self) -> None:
        if not 0 < self.number < 1 << (8 * SERIAL_MAX_OCTETS):
            raise Refused(Reason.MALFORMED, "A serial is a positive integer of at most 20 octets.")

    @classmethod
    def parse(cls, text: str) -> Serial:
        """Hexadecimal digits of either case, with or without colons, as tools print them."""
        digits = text.replace(":", "").lower()
        if not _SERIAL.fullmatch(digits):
            raise Refused(Reason.MALFORMED, "A serial is up to 40 hexadecimal digits, with or without colons.")
        return cls(int(digits, 16))

    @classmethod
    def assign(cls, replica: int, random: bytes) -> Serial:
        """A new serial: one replica octet, 0x01 to 0x7f, and 18 random octets (144 bits).

        The first octet is never zero nor above 0x7f, so each serial is positive and takes
        exactly 19 octets of minimal DER; replicas with different octets cannot collide.
        """
        if not 0x01 <= replica <= 0x7F or len(random) != 18:
            raise ValueError("a replica octet of 0x01-0x7f and 18 random octets")
        return cls(int.from_bytes(bytes([replica]) + random, "big"))

    @classmethod
    def from_octets(cls, octets: bytes) -> Serial:
        """The inverse of `octets`."""
        return cls(int.from_bytes(octets, "big"))

    @property
    def octets(self) -> bytes:
        """Big-endian, without leading zeros: what the database stores."""
        return self.number.to_bytes((self.number.bit_length() + 7) // 8, "big")

    def __str__(self) -> str:
        return self.octets.hex()


@dataclass(frozen=True, slots=True)
class Thumbprint:
    """A SHA-256 digest: of a certificate's DER (`x5t#S256`, RFC 8705 3.1) or of a SubjectPublicKeyInfo."""

    digest: bytes

    def __post_init__(self) -> None:
        if len(self.digest) != 32:
            raise Refused(Reason.MALFORMED, "A thumbprint is a SHA-256 digest: 32 octets.")

    @classmethod
    def of(cls, der: bytes) -> Thumbprint:
        """The digest of these bytes."""
        return cls(sha256(der).digest())

    @classmethod
    def parse(cls, text: str) -> Thumbprint:
        """64 hexadecimal digits, with or without colons, or 43 characters of unpadded base64url."""
        digits = text.replace(":", "")
        try:
            if len(digits) == 64:
                return cls(bytes.fromhex(digits))
            if len(text) == 43 and cls(urlsafe_b64decode(text + "=")).base64url == text:
                return cls(urlsafe_b64decode(text + "="))
        except ValueError:
            pass
        raise Refused(Reason.MALFORMED, "A thumbprint is 64 hexadecimal digits, or 43 characters of base64url.")

    @property
    def base64url(self) -> str:
        """Unpadded base64url, as JOSE writes it."""
        return urlsafe_b64encode(self.digest).rstrip(b"=").decode()

    @property
    def hex(self) -> str:
        """Lower-case hexadecimal digits."""
        return self.digest.hex()

    def __str__(self) -> str:
        return self.base64url
