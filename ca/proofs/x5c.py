"""A certificate of another CA: a JWT that carries it (`x5c`, RFC 7515 4.1.6) and that its key signed.

The JWT is made by the holder itself: `iss` is `x5c:` and the provider's name, `aud` this authority, `exp` and `iat`
a few minutes apart, `jti` fresh, and `cnf` the thumbprint of the key to be certified, so that whoever overhears it
can do nothing with it. Whether the other CA has revoked the certificate is not asked (`docs/decisions`).
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from ca.identifiers import Thumbprint
from ca.pki.keys import PublicKey
from ca.proofs import jwt
from ca.proofs.jwt import Jwt, SigningKey, Unfit, Unsuited
from ca.proofs.providers import Attested, Away

MAX_CHAIN = 4
MAX_CERTIFICATE = 6144  # characters of base64

ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")

_URI = re.compile(r"[a-z][a-z0-9+.-]*://[!-~]{1,1024}")
_DNS = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")
_MAX_SUBJECT = 1024

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the holder's JWT must say. `longest`: its age, and how far its end may lie ahead."""

    name: str
    audience: str
    longest: timedelta = timedelta(minutes=5)
    key_bound: bool = True


def roots(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The trust anchors in a PEM file: CA certificates alone, to which a chain can lead. Raises `ValueError`."""
    found = tuple(x509.load_pem_x509_certificates(pem))
    for one in found:
        constraints = _extension(one, x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            raise ValueError(f"{one.subject.rfc4514_string()} is not a CA")
        # RFC 5280 4.2.1.3. The verifier believes no chain to a root without it, and tells nobody why.
        usage = _extension(one, x509.KeyUsage)
        if usage is None or not usage.key_cert_sign:
            raise ValueError(f"{one.subject.rfc4514_string()} has no keyUsage keyCertSign, so no chain can lead to it")
    return found


class X5c:
    """One other CA, by its roots."""

    by_certificate = True

    def __init__(self, rules: Rules, anchors: Sequence[x509.Certificate]) -> None:
        self._rules = rules
        self._anchors = anchors
        self._store = Store(list(anchors))
        self.name = rules.name
        self.issuer = f"x5c:{rules.name}"

    async def attest(self, token: Jwt, key: PublicKey, now: datetime) -> Attested:
        """The chain, then the signature by its leaf, then the claims. Raises `Unfit`."""
        leaf = self._verified(_chain(token.header.get("x5c")), now)
        jwt.verify(token, _key(leaf), ALGORITHMS)
        try:
            return self._judge(token, leaf, key, now)
        except Unfit as unfit:
            raise Unsuited(str(unfit)) from unfit

    async def run(self) -> None:
        """Roots are read at the start; nothing is to be kept fresh."""

    async def check(self, now: datetime) -> str:
        """How many roots are valid. Raises `Away` without one."""
        valid = [one for one in self._anchors if one.not_valid_before_utc <= now < one.not_valid_after_utc]
        if not valid:
            raise Away("none of its roots is valid now")
        return f"{len(valid)} of {len(self._anchors)} roots are valid, one until {max(_ends(valid)):%F}."

    def _verified(self, chain: Sequence[x509.Certificate], now: datetime) -> x509.Certificate:
        """The leaf, if RFC 5280 6.1 leads from it to a root. What a certificate must be is the Web PKI's profile."""
        leaf, *others = chain
        # A certificate without a SAN has its subject; with an extended key usage, that is clientAuth.
        leaves = ExtensionPolicy.webpki_defaults_ee().may_be_present(
            x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
        )
        policy = PolicyBuilder().store(self._store).time(now).max_chain_depth(MAX_CHAIN - 1)
        verifier = policy.extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=leaves
        ).build_client_verifier()
        try:
            verifier.verify(leaf, others)
            usage = _extension(leaf, x509.KeyUsage)
        except (VerificationError, UnsupportedAlgorithm, ValueError) as error:
            raise Unfit("its certificate does not lead to a root") from error
        if usage is not None and not usage.digital_signature:
            raise Unfit("its certificate is not for signatures")
        return leaf

    def _judge(self, token: Jwt, leaf: x509.Certificate, key: PublicKey, now: datetime) -> Attested:
        rules = self._rules
        expires = jwt.check_times(token, now, rules.longest)
        if expires > now + rules.longest + 2 * jwt.LEEWAY:
            raise Unfit(f"it ends more than {rules.longest} ahead")
        jwt.check_audience(token, rules.audience)
        bound = jwt.bound_key(token, key)
        if rules.key_bound and bound is None:
            raise Unfit("it is not bound to a key (cnf)")
        name, thumbprint = subject(leaf), Thumbprint.of(leaf.public_bytes(Encoding.DER))
        if token.claims.get("sub", name) != name:
            raise Unfit("its sub is not what its certificate says")
        return Attested(
            provider=rules.name,
            issuer=self.issuer,
            subject=name,
            expires=min(expires, leaf.not_valid_after_utc),
            once=jwt.once(token, rules.name, thumbprint.hex),
            key=bound,
            extra={"serial": f"{leaf.serial_number:x}", "x5t#S256": thumbprint.base64url},
        )


def subject(leaf: x509.Certificate) -> str:
    """The one name that a certificate is known by: its URI SAN, else its DNS SAN, else its subject (RFC 4514).

    Of the kind that counts there must be one alone. No text is a name of two kinds: of `:` and `=`, a URI has the
    colon first, behind its scheme, a subject the equals sign, behind its first attribute's type, a DNS name neither.
    Raises `Unfit`.
    """
    try:
        names = _extension(leaf, x509.SubjectAlternativeName)
        uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names else []
        hosts = names.get_values_for_type(x509.DNSName) if names else []
        distinguished = leaf.subject.rfc4514_string()
    except ValueError as error:
        raise Unfit("its certificate has names that cannot be read") from error
    for found, form in ((uris, _URI), (hosts, _DNS)):
        if found:
            if len(found) > 1 or not form.fullmatch(found[0]):
                raise Unfit("its certificate has not one plain name")
            return found[0]
    if not 0 < len(distinguished) <= _MAX_SUBJECT or not distinguished.isprintable():
        raise Unfit("its certificate has not one plain name")
    return distinguished


def _chain(header: object) -> list[x509.Certificate]:
    """RFC 7515 4.1.6: base64, not base64url, of DER; the leaf first. Bounded before anything is decoded."""
    if not isinstance(header, list) or not 0 < len(header) <= MAX_CHAIN:
        raise Unfit(f"x5c is not an array of 1 to {MAX_CHAIN} certificates")
    if not all(isinstance(one, str) and len(one) <= MAX_CERTIFICATE for one in header):
        raise Unfit("x5c has something other than a certificate")
    try:
        return [x509.load_der_x509_certificate(b64decode(one, validate=True)) for one in header]
    except (ValueError, x509.InvalidVersion) as error:
        raise Unfit("x5c has something other than a certificate") from error


def _key(leaf: x509.Certificate) -> SigningKey:
    try:
        return jwt.imported(leaf.public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unfit("its certificate has a key that cannot be read") from error


def _extension(leaf: x509.Certificate, kind: type[_Kind]) -> _Kind | None:
    try:
        return leaf.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError("an extension that cannot be read") from error


def _ends(certificates: Sequence[x509.Certificate]) -> list[datetime]:
    return [one.not_valid_after_utc for one in certificates]
