"""Certificate revocation lists (RFC 5280 5): entries, number and time to their ToBeSigned.

Entries are encoded once each and joined: the library's builder copies its list at every entry,
which makes 80,000 entries take 13 seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import CRLEntryExtensionOID

from ca.identifiers import Serial
from ca.pki.certificate import Issuer
from ca.pki.signed import ToBeSigned, draft

_SEQUENCE = b"\x30"

SERIAL_OCTETS = 19
"""Of every serial of this authority (`Serial.assign`)."""

_SERIAL_AT = 4
# After the time stands the reason, or the next entry: their lengths tell them apart.
_ENTRY = re.compile(
    rb"\x30[\x24\x26\x32\x34]\x02\x13(.{19})(?:\x17\x0d.{13}|\x18\x0f.{15})(?:\x30\x0c.{12})?", re.DOTALL
)


@asn1.sequence
class _Extension:
    oid: x509.ObjectIdentifier
    critical: Annotated[bool, asn1.Default(False)]
    value: bytes


@asn1.sequence
class _Entry:
    serial: int
    revoked_at: asn1.UTCTime | asn1.GeneralizedTime
    extensions: list[_Extension] | None


@asn1.sequence
class _TbsCertListWithoutEntries:
    version: int
    algorithm: asn1.TLV
    issuer: asn1.TLV
    this_update: asn1.TLV
    next_update: asn1.TLV
    extensions: Annotated[asn1.TLV, asn1.Explicit(0)]


@asn1.sequence
class _TbsCertList:
    version: int
    algorithm: asn1.TLV
    issuer: asn1.TLV
    this_update: asn1.TLV
    next_update: asn1.TLV
    entries: asn1.TLV
    extensions: Annotated[asn1.TLV, asn1.Explicit(0)]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a CRL covers: everything of its issuer (no distribution point), or the shard at one URL.

    A shard names its URL in a critical IssuingDistributionPoint (RFC 5280 5.2.5), so that one list
    cannot be passed off as another. The full list carries none: NSS refuses every certificate
    whose CRL has one. It may name the URL of its delta (`freshest`, 5.2.6). A delta says on which
    full list it stands (`base`, that one's number, 5.2.4).
    """

    distribution_point: str | None = None
    freshest: str | None = None
    base: int | None = None

    def extensions(self) -> list[tuple[x509.ExtensionType, bool]]:
        """What says so in the list, each with whether it is critical."""
        found: list[tuple[x509.ExtensionType, bool]] = []
        if self.distribution_point is not None:
            found.append((distribution_point(self.distribution_point), True))
        if self.freshest is not None:
            name = x509.UniformResourceIdentifier(self.freshest)
            found.append((x509.FreshestCRL([x509.DistributionPoint([name], None, None, None)]), False))
        if self.base is not None:
            found.append((x509.DeltaCRLIndicator(self.base), True))
        return found


def frame(revoked_at: datetime, reason: x509.ReasonFlags) -> tuple[bytes, bytes]:
    """What stands before and after the serial in each entry of one act (RFC 5280 5.3).

    Every serial of this authority has as many octets (`Serial.assign`).
    """
    before, _, after = entry(_ANY, revoked_at, reason).partition(_ANY.octets)
    return before, after


def entry(serial: Serial, revoked_at: datetime, reason: x509.ReasonFlags) -> bytes:
    """One revoked certificate in DER (RFC 5280 5.3). The reason `unspecified` is left out (5.3.1)."""
    extensions = None
    if reason is not x509.ReasonFlags.unspecified:
        value = x509.CRLReason(reason).public_bytes()
        extensions = [_Extension(oid=CRLEntryExtensionOID.CRL_REASON, critical=False, value=value)]
    moment = revoked_at.replace(microsecond=0)
    time = asn1.UTCTime(moment) if moment.year < 2050 else asn1.GeneralizedTime(moment)  # RFC 5280 5.1.2.6
    return asn1.encode_der(_Entry(serial=serial.number, revoked_at=time, extensions=extensions))


_ANY = Serial.assign(0x7F, b"\xa5" * 18)


def to_be_signed(
    issuer: Issuer,
    entries: Iterable[bytes],
    *,
    number: int,
    this_update: datetime,
    next_update: datetime,
    scope: Scope,
) -> ToBeSigned:
    """The exact TBSCertList. `number` is the CRL number (5.2.3); times have whole seconds, UTC."""
    key_identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_identifier), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for extension, critical in scope.extensions():
        builder = builder.add_extension(extension, critical)
    empty = draft(builder, issuer.public_key)
    joined = b"".join(entries)
    # An empty revokedCertificates must be absent, not an empty SEQUENCE (5.1.2.6).
    return ToBeSigned(tbs=_with_entries(empty.tbs, joined), algorithm=empty.algorithm) if joined else empty


def _with_entries(tbs: bytes, joined: bytes) -> bytes:
    head = asn1.decode_der(_TbsCertListWithoutEntries, tbs)
    # An OCTET STRING has the length octets of a SEQUENCE of the same contents: only the tag differs.
    entries = asn1.decode_der(asn1.TLV, _SEQUENCE + asn1.encode_der(joined)[1:])
    return asn1.encode_der(
        _TbsCertList(
            version=head.version,
            algorithm=head.algorithm,
            issuer=head.issuer,
            this_update=head.this_update,
            next_update=head.next_update,
            entries=entries,
            extensions=head.extensions,
        )
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """A TBSCertList taken apart; `entries` are the octets inside revokedCertificates, None where there are none.

    `bare` is the same list without them.
    """

    version: int
    algorithm: asn1.TLV
    issuer: asn1.TLV
    entries: bytes | None
    bare: bytes


def parts(tbs: bytes) -> Parts:
    """Reads what `to_be_signed` made. Raises `ValueError`."""
    try:
        bare = asn1.decode_der(_TbsCertListWithoutEntries, tbs)
        return Parts(bare.version, bare.algorithm, bare.issuer, None, tbs)
    except ValueError:
        whole = asn1.decode_der(_TbsCertList, tbs)
    bare = _TbsCertListWithoutEntries(
        version=whole.version,
        algorithm=whole.algorithm,
        issuer=whole.issuer,
        this_update=whole.this_update,
        next_update=whole.next_update,
        extensions=whole.extensions,
    )
    entries = _contents(asn1.encode_der(whole.entries))
    return Parts(whole.version, whole.algorithm, whole.issuer, entries, asn1.encode_der(bare))


def names(der: bytes, serials: bytes) -> bool:
    """Whether entries of one length name these serials, in their order: each octet of all of them at once."""
    # None has 128 octets, so its second octet says how many follow.
    length = 2 + int.from_bytes(der[1:2])
    count, rest = divmod(len(der), length)
    if rest or len(serials) != count * SERIAL_OCTETS:
        return False
    return all(der[_SERIAL_AT + octet :: length] == serials[octet::SERIAL_OCTETS] for octet in range(SERIAL_OCTETS))


def serials(entries: bytes | None) -> set[bytes]:
    """The serials of the entries of a list that was signed, however many."""
    return set(_ENTRY.findall(entries or b""))


def _contents(element: bytes) -> bytes:
    """Without the tag and the length, whose first octet counts the others when its highest bit is set."""
    return element[2 + (element[1] & 0x7F if element[1] & 0x80 else 0) :]


def distribution_point(url: str) -> x509.IssuingDistributionPoint:
    """What a shard names itself by (RFC 5280 5.2.5)."""
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url)],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
