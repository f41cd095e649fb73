"""Each rule of the lint has a mutation that breaks it and no other; a rule without one fails the last test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from ca.identifiers import Serial
from ca.pki import certificate, lint, signed
from ca.pki.certificate import NO_REV_AVAIL, Contents, Holder, Issuer
from ca.pki.keys import PublicKey
from ca.pki.lint import CERTIFICATE_RULES, Linted
from ca.pki.profile import Kind, Validity
from ca.pki.signed import ToBeSigned
from ca.refusals import Reason, Refused
from tests.ca.pki.specimens import NOW, SUBJECT, Hierarchy, serial, uri

POLICY = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), None)])
FRESHEST = x509.FreshestCRL([x509.DistributionPoint([uri("http://x")], None, None, None)])
CONSTRAINTS = x509.NameConstraints([x509.UniformResourceIdentifier("agents.example")], None)


@dataclass(frozen=True)
class Case:
    """What `lint_certificate` is asked: bytes, and what they should say."""

    to_be_signed: ToBeSigned
    contents: Contents
    serial: Serial
    issuer: Issuer | None
    now: datetime = NOW

    def broken(self) -> list[str]:
        """The names of all rules that do not hold, by the same parse."""
        case = lint._Case(self.to_be_signed, self.contents, self.serial, self.issuer, self.now)
        return [rule.__name__ for rule in CERTIFICATE_RULES if not rule(case)]

    def lint(self) -> Linted:
        return lint.lint_certificate(self.to_be_signed, self.contents, self.serial, self.issuer, self.now)


def sound(hierarchy: Hierarchy, kind: Kind = Kind.AGENT, key: PublicKey | None = None, crl: int | None = 0) -> Case:
    """A case that breaks no rule."""
    contents = replace(hierarchy.contents(kind, key), crl=crl)
    issuer = {Kind.ROOT: None, Kind.ISSUING: hierarchy.root}.get(kind, hierarchy.issuer)
    return Case(certificate.to_be_signed(contents, serial(), issuer), contents, serial(), issuer)


def rebuilt(case: Case, *, without: type[x509.ExtensionType] | None = None, **changes: Any) -> Case:
    """The same certificate made anew with other fields, extensions or critical flags: `{type: (value, critical)}`."""
    parsed = x509.load_der_x509_certificate(signed.assemble(case.to_be_signed, b"\x00"))
    replaced: dict[type, tuple[x509.ExtensionType, bool]] = changes.get("extensions", {})
    builder = (
        x509.CertificateBuilder()
        .subject_name(changes.get("subject", parsed.subject))
        .issuer_name(changes.get("issuer", parsed.issuer))
        .public_key(changes.get("key", parsed.public_key()))
        .serial_number(changes.get("serial", parsed.serial_number))
        .not_valid_before(changes.get("not_before", parsed.not_valid_before_utc))
        .not_valid_after(changes.get("not_after", parsed.not_valid_after_utc))
    )
    for value, critical in changes.get("only", [(each.value, each.critical) for each in parsed.extensions]):
        if type(value) is not without:
            builder = builder.add_extension(*replaced.get(type(value), (value, critical)))
    for value, critical in changes.get("added", ()):
        builder = builder.add_extension(value, critical)
    signer = case.issuer.public_key if case.issuer else case.contents.holder.public_key
    return replace(case, to_be_signed=signed.draft(builder, signer))


def usage(**flags: bool) -> x509.KeyUsage:
    names = [name for name in dir(x509.KeyUsage) if not name.startswith("_") and name not in ("oid", "public_bytes")]
    return x509.KeyUsage(**{name: flags.get(name, False) for name in names})


def constraints(ca: bool, path_length: int | None = None) -> dict[type, tuple[x509.ExtensionType, bool]]:
    return {x509.BasicConstraints: (x509.BasicConstraints(ca, path_length), True)}


def for_purposes(*purposes: x509.ObjectIdentifier) -> dict[type, tuple[x509.ExtensionType, bool]]:
    return {x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage(purposes), False)}


def named(*names: x509.GeneralName) -> dict[type, tuple[x509.ExtensionType, bool]]:
    return {x509.SubjectAlternativeName: (x509.SubjectAlternativeName(names), False)}


def with_key(hierarchy: Hierarchy) -> Case:
    """Another key in the bytes; the SKI is that of the proven one, which no rule reads."""
    return rebuilt(sound(hierarchy), key=hierarchy.signer.generate("other"))


def with_algorithm(hierarchy: Hierarchy) -> Case:
    """Another algorithm beside the signature than inside."""
    case, other = sound(hierarchy), signed.algorithm_identifier(Ed25519PrivateKey.generate().public_key())
    return replace(case, to_be_signed=replace(case.to_be_signed, algorithm=other))


def version_1(case: Case) -> Case:
    """The same fields without version and extensions; the contents then promise none either."""
    parsed = x509.load_der_x509_certificate(signed.assemble(case.to_be_signed, b"\x00"))
    assert parsed.version is x509.Version.v3
    return replace(case, to_be_signed=replace(case.to_be_signed, tbs=_without_version(case.to_be_signed.tbs)))


def _without_version(tbs: bytes) -> bytes:
    explicit = bytes.fromhex("a003020102")
    body = tbs[4:]
    assert tbs[:2] == b"\x30\x82"
    assert body.startswith(explicit)
    shorter = body[len(explicit) :]
    return b"\x30\x82" + len(shorter).to_bytes(2, "big") + shorter


def access(*methods: x509.ObjectIdentifier) -> dict[type, tuple[x509.ExtensionType, bool]]:
    value = x509.AuthorityInformationAccess([x509.AccessDescription(method, uri("http://x")) for method in methods])
    return {x509.AuthorityInformationAccess: (value, False)}


def point(url: str) -> x509.CRLDistributionPoints:
    return x509.CRLDistributionPoints([x509.DistributionPoint([uri(url)], None, None, None)])


def with_no_revocation(
    hierarchy: Hierarchy, value: bytes = NO_REV_AVAIL.value, critical: bool = False, times: int = 1
) -> Case:
    """A sound one but for noRevAvail itself: another value, critical, or not there."""
    case = sound(hierarchy, crl=None)
    parsed = x509.load_der_x509_certificate(signed.assemble(case.to_be_signed, b"\x00"))
    others = [(one.value, one.critical) for one in parsed.extensions if one.value != NO_REV_AVAIL]
    return rebuilt(case, only=[*others, *[(x509.UnrecognizedExtension(NO_REV_AVAIL.oid, value), critical)] * times])


def without_no_revocation(hierarchy: Hierarchy) -> Case:
    return with_no_revocation(hierarchy, times=0)


def private(octets: int = 2, last: str = "1") -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.3.6.1.4.1.32473.1.{last}"), bytes(octets))


def with_private(hierarchy: Hierarchy, extension: x509.UnrecognizedExtension) -> Case:
    """Policy itself put this private extension there."""
    contents = replace(hierarchy.contents(Kind.AGENT), private=(extension,))
    return Case(certificate.to_be_signed(contents, serial(), hierarchy.issuer), contents, serial(), hierarchy.issuer)


def drawn(hierarchy: Hierarchy, number: Serial) -> Case:
    contents = hierarchy.contents(Kind.AGENT)
    return Case(certificate.to_be_signed(contents, number, hierarchy.issuer), contents, number, hierarchy.issuer)


def lasting(hierarchy: Hierarchy, not_before: datetime, not_after: datetime) -> Case:
    contents = replace(hierarchy.contents(Kind.AGENT), validity=Validity(not_before, not_after))
    return Case(certificate.to_be_signed(contents, serial(), hierarchy.issuer), contents, serial(), hierarchy.issuer)


def subject_of_nobody(hierarchy: Hierarchy) -> Case:
    contents = hierarchy.contents(Kind.AGENT)
    nobody = replace(contents, holder=replace(contents.holder, subject=x509.Name([])))
    return Case(certificate.to_be_signed(nobody, serial(), hierarchy.issuer), nobody, serial(), hierarchy.issuer)


def san_of(hierarchy: Hierarchy, *names: x509.GeneralName) -> Case:
    """Policy itself computed these names."""
    contents = hierarchy.contents(Kind.AGENT)
    wrong = replace(contents, holder=Holder(SUBJECT, contents.holder.public_key, names))
    return Case(certificate.to_be_signed(wrong, serial(), hierarchy.issuer), wrong, serial(), hierarchy.issuer)


def changed(kind: Kind = Kind.AGENT, **changes: Any) -> Callable[[Hierarchy], Case]:
    """A certificate of this kind, sound but for these changes."""
    return lambda hierarchy: rebuilt(sound(hierarchy, kind), **changes)


def brief(**changes: Any) -> Callable[[Hierarchy], Case]:
    """An agent's certificate with noRevAvail, sound but for these changes."""
    return lambda hierarchy: rebuilt(sound(hierarchy, crl=None), **changes)


def signing(kind: Kind = Kind.AGENT, **flags: bool) -> Callable[[Hierarchy], Case]:
    """With these key usages instead of its own."""
    return changed(kind, extensions={x509.KeyUsage: (usage(**flags), True)})


LATER = NOW + timedelta(minutes=14)
DAY = timedelta(days=1)
FOREIGN = x509.AuthorityKeyIdentifier(bytes(20), None, None)
CRITICAL_SAN = x509.SubjectAlternativeName([uri("spiffe://agents.example/agent/acme/billing-bot")])

# rule, what is wrong, and how it is made so
MUTATIONS: list[tuple[str, str, Callable[[Hierarchy], Case]]] = [
    ("_version_is_three", "version 1", lambda h: version_1(sound(h))),
    ("_serial_is_the_one_drawn", "another serial", changed(serial=serial(2).number)),
    ("_serial_is_the_one_drawn", "a short serial", lambda h: drawn(h, Serial(5))),
    ("_serial_is_the_one_drawn", "a serial of 20 octets", lambda h: drawn(h, Serial(1 << 152))),
    ("_serial_is_the_one_drawn", "a first octet of 0x80", lambda h: drawn(h, Serial(0x80 << 144))),
    ("_issuer_is_the_signer", "another issuer", lambda h: rebuilt(sound(h), issuer=h.root.certificate.subject)),
    ("_issuer_is_the_signer", "root by another", changed(Kind.ROOT, issuer=SUBJECT)),
    (
        "_subject_is_the_computed_one",
        "another subject",
        lambda h: rebuilt(sound(h), subject=h.root.certificate.subject),
    ),
    ("_subject_is_the_computed_one", "no subject", subject_of_nobody),
    ("_key_is_the_proven_one", "another key", with_key),
    ("_key_is_not_the_issuers", "the issuer's key", lambda h: sound(h, key=h.issuer.public_key)),
    ("_algorithm_is_the_one_beside_the_signature", "Ed25519's beside ECDSA's", with_algorithm),
    ("_validity_is_within", "past the issuer's end", lambda h: lasting(h, NOW, NOW + timedelta(days=899))),
    ("_validity_is_within", "ends before it begins", lambda h: lasting(h, LATER + DAY, LATER + DAY)),
    ("_validity_is_within", "back-dated by two minutes", lambda h: lasting(h, NOW - timedelta(minutes=2), LATER)),
    ("_validity_is_within", "over already", lambda h: lasting(h, NOW - timedelta(seconds=30), NOW)),
    ("_basic_constraints", "a CA", changed(extensions=constraints(True))),
    ("_basic_constraints", "absent", changed(without=x509.BasicConstraints)),
    ("_basic_constraints", "pathlen 1", changed(Kind.ISSUING, extensions=constraints(True, 1))),
    ("_basic_constraints", "no pathlen", changed(Kind.ISSUING, extensions=constraints(True))),
    ("_key_usage", "keyCertSign", signing(digital_signature=True, key_cert_sign=True)),
    ("_key_usage", "cRLSign", signing(digital_signature=True, crl_sign=True)),
    ("_key_usage", "nonRepudiation", signing(digital_signature=True, content_commitment=True)),
    ("_key_usage", "keyEncipherment", signing(digital_signature=True, key_encipherment=True)),
    ("_key_usage", "dataEncipherment", signing(digital_signature=True, data_encipherment=True)),
    ("_key_usage", "keyAgreement", signing(digital_signature=True, key_agreement=True)),
    ("_key_usage", "no usage", signing()),
    ("_key_usage", "absent", changed(without=x509.KeyUsage)),
    (
        "_key_usage",
        "a CA that signs data",
        signing(Kind.ISSUING, key_cert_sign=True, crl_sign=True, digital_signature=True),
    ),
    ("_key_usage", "a CA without cRLSign", signing(Kind.ISSUING, key_cert_sign=True)),
    ("_purpose", "serverAuth", changed(extensions=for_purposes(ExtendedKeyUsageOID.SERVER_AUTH))),
    (
        "_purpose",
        "any purpose too",
        changed(extensions=for_purposes(ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)),
    ),
    ("_purpose", "absent", changed(without=x509.ExtendedKeyUsage)),
    (
        "_purpose",
        "a CA with a purpose",
        changed(Kind.ISSUING, added=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)]),
    ),
    ("_alternative_names", "another URI", changed(extensions=named(uri("spiffe://agents.example/agent/acme/other")))),
    (
        "_alternative_names",
        "a second name",
        lambda h: rebuilt(
            sound(h), extensions=named(*h.contents(Kind.AGENT).holder.alternative_names, x509.DNSName("x"))
        ),
    ),
    ("_alternative_names", "absent", changed(without=x509.SubjectAlternativeName)),
    ("_alternative_names", "computed, but not SPIFFE", lambda h: san_of(h, uri("https://agents.example/agent"))),
    ("_alternative_names", "computed, but two", lambda h: san_of(h, uri("spiffe://a/b"), uri("spiffe://a/c"))),
    ("_alternative_names", "computed, but a DNS name", lambda h: san_of(h, x509.DNSName("agents.example"))),
    (
        "_alternative_names",
        "a server's, but another",
        changed(Kind.SERVER, extensions=named(x509.DNSName("evil.example"))),
    ),
    ("_authority_key_identifier", "another", changed(extensions={x509.AuthorityKeyIdentifier: (FOREIGN, False)})),
    ("_authority_key_identifier", "absent", changed(without=x509.AuthorityKeyIdentifier)),
    ("_status_is_reachable", "no CRL", changed(without=x509.CRLDistributionPoints)),
    ("_status_is_reachable", "no AIA", changed(without=x509.AuthorityInformationAccess)),
    ("_status_is_reachable", "no OCSP", changed(extensions=access(AuthorityInformationAccessOID.CA_ISSUERS))),
    ("_status_is_reachable", "another list", lambda h: replace(sound(h, crl=2), contents=sound(h, crl=3).contents)),
    (
        "_status_is_reachable",
        "a shard instead of the full list",
        lambda h: replace(sound(h, crl=1), contents=sound(h, crl=0).contents),
    ),
    (
        "_status_is_reachable",
        "noRevAvail and a list",
        brief(added=[(point("http://status.example/crl/i.crl"), False)]),
    ),
    (
        "_status_is_reachable",
        "noRevAvail and OCSP",
        brief(extensions=access(AuthorityInformationAccessOID.CA_ISSUERS, AuthorityInformationAccessOID.OCSP)),
    ),
    ("_no_revocation_available", "beside pointers", changed(added=[(NO_REV_AVAIL, False)])),
    ("_no_revocation_available", "neither it nor pointers", without_no_revocation),
    ("_no_revocation_available", "not a NULL", lambda h: with_no_revocation(h, b"\x04\x00")),
    ("_no_revocation_available", "a CA's", lambda h: sound(h, Kind.ISSUING, crl=None)),
    ("_no_revocation_available", "a root's", lambda h: sound(h, Kind.ROOT, crl=None)),
    ("_no_revocation_available", "an operator's", lambda h: sound(h, Kind.OPERATOR, crl=None)),
    ("_no_revocation_available", "a responder's", lambda h: sound(h, Kind.RESPONDER, crl=None)),
    ("_critical_flags", "critical noRevAvail", lambda h: with_no_revocation(h, critical=True)),
    ("_nothing_else", "a delta beside noRevAvail", brief(added=[(FRESHEST, False)])),
    ("_nothing_else", "not to be asked about", changed(added=[(x509.OCSPNoCheck(), False)])),
    ("_nothing_else", "a responder to be asked about", changed(Kind.RESPONDER, without=x509.OCSPNoCheck)),
    ("_nothing_else", "a policy", changed(added=[(POLICY, False)])),
    ("_subject_key_identifier", "absent", changed(without=x509.SubjectKeyIdentifier)),
    (
        "_subject_key_identifier",
        "another",
        changed(extensions={x509.SubjectKeyIdentifier: (x509.SubjectKeyIdentifier(b"k" * 20), False)}),
    ),
    ("_name_constraints", "on a leaf", changed(added=[(CONSTRAINTS, True)])),
    ("_critical_flags", "critical SAN", changed(extensions={x509.SubjectAlternativeName: (CRITICAL_SAN, True)})),
    (
        "_critical_flags",
        "basicConstraints not critical",
        changed(extensions={x509.BasicConstraints: (x509.BasicConstraints(False, None), False)}),
    ),
    (
        "_critical_flags",
        "keyUsage not critical",
        changed(extensions={x509.KeyUsage: (usage(digital_signature=True), False)}),
    ),
    (
        "_critical_flags",
        "critical task",
        lambda h: rebuilt(sound(h), extensions={x509.UnrecognizedExtension: (h.contents(Kind.AGENT).private[0], True)}),
    ),
    ("_private_extensions", "a stranger", changed(added=[(private(last="9"), False)])),
    ("_private_extensions", "another value", changed(extensions={x509.UnrecognizedExtension: (private(), False)})),
    ("_private_extensions", "absent", changed(without=x509.UnrecognizedExtension)),
    ("_private_extensions", "larger than 1 KiB", lambda h: with_private(h, private(1025))),
]


@pytest.mark.parametrize("crl", [None, 0, 1, 1024])
def test_with_every_list_or_none_it_passes(hierarchy: Hierarchy, crl: int | None) -> None:
    assert sound(hierarchy, crl=crl).broken() == []


@pytest.mark.parametrize("kind", Kind)
def test_a_sound_certificate_passes(hierarchy: Hierarchy, kind: Kind) -> None:
    case = sound(hierarchy, kind)
    assert case.broken() == []
    assert case.lint() == Linted(case.to_be_signed)


def test_a_private_extension_of_1_kib_passes(hierarchy: Hierarchy) -> None:
    assert with_private(hierarchy, private(1024)).lint()


def test_making_a_certificate_anew_is_no_mutation(hierarchy: Hierarchy) -> None:
    """So that what a mutation breaks is the mutation's doing."""
    case = sound(hierarchy)
    assert rebuilt(case).to_be_signed == case.to_be_signed


@pytest.mark.parametrize(
    ("rule", "mutate"), [(rule, mutate) for rule, _, mutate in MUTATIONS], ids=[f"{r} {w}" for r, w, _ in MUTATIONS]
)
def test_a_mutation_breaks_its_rule_alone_and_is_refused(
    hierarchy: Hierarchy, rule: str, mutate: Callable[[Hierarchy], Case]
) -> None:
    case = mutate(hierarchy)
    assert case.broken() == [rule]
    with pytest.raises(Refused, match=rule) as caught:
        case.lint()
    assert caught.value.reason is Reason.LINT_FAILED


def test_every_rule_has_a_mutation_and_a_citation() -> None:
    assert {rule.__name__ for rule in CERTIFICATE_RULES} == {rule for rule, _, _ in MUTATIONS}
    assert len(set(CERTIFICATE_RULES)) == len(CERTIFICATE_RULES)
    assert all(rule.__doc__ for rule in CERTIFICATE_RULES)


def test_every_rule_of_the_module_is_run() -> None:
    rules = {
        name
        for name, value in vars(lint).items()
        if callable(value) and getattr(value, "__annotations__", {}).get("case") == "_Case"
    }
    assert rules == {rule.__name__ for rule in CERTIFICATE_RULES}


@pytest.mark.parametrize(
    "tbs",
    [b"", b"\x30\x00", b"\x00", b"\x30\x80\x00\x00", bytes(100)],
    ids=["none", "empty", "nul", "indefinite", "nuls"],
)
def test_bytes_that_do_not_parse_are_refused(hierarchy: Hierarchy, tbs: bytes) -> None:
    case = sound(hierarchy)
    with pytest.raises(Refused) as caught:
        replace(case, to_be_signed=replace(case.to_be_signed, tbs=tbs)).lint()
    assert caught.value.reason is Reason.LINT_FAILED
