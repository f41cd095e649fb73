"""Every kind of certificate, read by cryptography and, independently, by asn1crypto."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asn1crypto import x509 as independent
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID
from hypothesis import given
from hypothesis import strategies as st

from ca.hsm import KeyKind
from ca.pki import certificate
from ca.pki.certificate import MAX_SHARDS, NO_REV_AVAIL, Contents, Holder, Issuer
from ca.pki.extensions import AgentTask
from ca.pki.keys import spki
from ca.pki.profile import PROFILES, Kind, Validity
from ca.pki.signed import ToBeSigned, assemble, draft
from tests.ca.pki.specimens import POINTERS, SPIFFE, TASK, Hierarchy, serial

ALWAYS = {"basic_constraints": True, "key_usage": True, "key_identifier": False}
ISSUED = {**ALWAYS, "authority_key_identifier": False, "authority_information_access": False}
END_ENTITY = {**ISSUED, "extended_key_usage": False}
CHECKED = {**END_ENTITY, "crl_distribution_points": False}
NAMED = {**CHECKED, "subject_alt_name": False}
TASK_OID = "1.3.6.1.4.1.32473.1.1"
HIERARCHY = Hierarchy()

EXPECTED: dict[Kind, dict[str, bool]] = {
    Kind.ROOT: ALWAYS,
    Kind.ISSUING: {**ISSUED, "crl_distribution_points": False, "name_constraints": True},
    Kind.RESPONDER: {**END_ENTITY, "ocsp_no_check": False},
    Kind.SERVER: NAMED,
    Kind.OPERATOR: NAMED,
    Kind.AGENT: {**NAMED, TASK_OID: False},
}


def made(hierarchy: Hierarchy, kind: Kind) -> x509.Certificate:
    match kind:
        case Kind.ROOT:
            return hierarchy.root.certificate
        case Kind.ISSUING:
            return hierarchy.issuer.certificate
        case _:
            return hierarchy.issue(hierarchy.contents(kind))


def read(made: x509.Certificate) -> independent.TbsCertificate:
    """The TBSCertificate as the other parser sees it; it re-encodes to the same octets."""
    parsed = independent.Certificate.load(made.public_bytes(Encoding.DER), strict=True)
    assert parsed["tbs_certificate"].dump(force=True) == made.tbs_certificate_bytes
    return parsed["tbs_certificate"]


def value(tbs: independent.TbsCertificate, name: str) -> Any:
    [found] = [each["extn_value"].native for each in tbs["extensions"] if each["extn_id"].native == name]
    return found


@pytest.mark.parametrize("kind", Kind)
def test_extensions_and_their_critical_flags(hierarchy: Hierarchy, kind: Kind) -> None:
    found = {each["extn_id"].native: each["critical"].native for each in read(made(hierarchy, kind))["extensions"]}
    assert found == EXPECTED[kind]


@pytest.mark.parametrize("kind", Kind)
def test_usages(hierarchy: Hierarchy, kind: Kind) -> None:
    tbs, profile = read(made(hierarchy, kind)), PROFILES[kind]
    authority = {"key_cert_sign", "crl_sign"}
    assert value(tbs, "key_usage") == (authority if profile.certificate_authority else {"digital_signature"})
    assert value(tbs, "basic_constraints") == {
        "ca": profile.certificate_authority,
        "path_len_constraint": profile.path_length,
    }


@pytest.mark.parametrize(
    ("kind", "purpose"),
    [
        (Kind.RESPONDER, "ocsp_signing"),
        (Kind.SERVER, "server_auth"),
        (Kind.OPERATOR, "client_auth"),
        (Kind.AGENT, "client_auth"),
    ],
)
def test_one_purpose(hierarchy: Hierarchy, kind: Kind, purpose: str) -> None:
    assert value(read(made(hierarchy, kind)), "extended_key_usage") == [purpose]


@pytest.mark.parametrize("kind", Kind)
def test_fixed_fields(hierarchy: Hierarchy, kind: Kind) -> None:
    certificate_ = made(hierarchy, kind)
    tbs = read(certificate_)
    issuer = hierarchy.root if kind in (Kind.ROOT, Kind.ISSUING) else hierarchy.issuer
    assert tbs["version"].native == "v3"
    assert tbs["serial_number"].native == serial().number
    assert len(tbs["serial_number"].contents) == 19
    assert tbs["signature"]["algorithm"].native == "sha256_ecdsa"
    assert tbs["issuer"].dump() == issuer.certificate.subject.public_bytes(), "octet for octet, as paths are built"
    assert tbs["issuer_unique_id"].native is tbs["subject_unique_id"].native is None
    certificate_.verify_directly_issued_by(issuer.certificate)


def test_key_identifiers_chain(hierarchy: Hierarchy) -> None:
    leaf, issuing, root = (
        read(made(hierarchy, Kind.AGENT)),
        read(hierarchy.issuer.certificate),
        read(hierarchy.root.certificate),
    )
    for child, parent in ((leaf, issuing), (issuing, root)):
        assert value(child, "authority_key_identifier")["key_identifier"] == value(parent, "key_identifier")


def test_an_agents_certificate_says_what_the_contract_says(hierarchy: Hierarchy) -> None:
    leaf = made(hierarchy, Kind.AGENT)
    tbs = read(leaf)
    assert leaf.subject.rfc4514_string() == "CN=billing-bot,OU=acme,O=Remit"
    assert value(tbs, "subject_alt_name") == [str(SPIFFE)]
    assert tbs["subject_public_key_info"].dump() == spki(hierarchy.agent_key)
    [task] = [each["extn_value"].parsed for each in tbs["extensions"] if each["extn_id"].native == TASK_OID]
    assert AgentTask.decode(task.dump()) == TASK


def brief(hierarchy: Hierarchy) -> Contents:
    """An agent's, so short-lived that nothing is said of its revocation."""
    return replace(hierarchy.contents(Kind.AGENT), crl=None)


@pytest.mark.parametrize(
    ("number", "url"),
    [(0, "http://status.example/crl/i.crl"), (1, "http://status.example/crl/i/1.crl")],
    ids=["the full list", "a shard"],
)
def test_a_list_has_its_url(number: int, url: str) -> None:
    assert POINTERS.list(number) == url


def test_the_delta_has_its_url() -> None:
    assert POINTERS.delta == "http://status.example/crl/i/delta.crl"


@pytest.mark.parametrize("kind", [Kind.SERVER, Kind.OPERATOR, Kind.AGENT])
@pytest.mark.parametrize("number", [0, 1, 16, MAX_SHARDS])
def test_a_certificate_names_its_list(hierarchy: Hierarchy, kind: Kind, number: int) -> None:
    """RFC 5280 4.2.1.13."""
    [point] = value(read(hierarchy.issue(replace(hierarchy.contents(kind), crl=number))), "crl_distribution_points")
    assert point["distribution_point"] == [POINTERS.list(number)]


def test_what_names_no_list_says_that_no_revocation_is_available(hierarchy: Hierarchy) -> None:
    """RFC 9608 2 and 3: a NULL, not critical, and no pointer to a list or a responder beside it."""
    tbs = read(hierarchy.issue(brief(hierarchy)))
    found = {each["extn_id"].native: each["critical"].native for each in tbs["extensions"]}
    assert found == {**END_ENTITY, "subject_alt_name": False, TASK_OID: False, "2.5.29.56": False}
    [access] = value(tbs, "authority_information_access")
    assert (access["access_method"], access["access_location"]) == ("ca_issuers", POINTERS.ca_issuers)
    [said] = [each["extn_value"].contents for each in tbs["extensions"] if each["extn_id"].dotted == "2.5.29.56"]
    assert said == bytes.fromhex("0500")


def test_what_is_encoded_once_is_kept_for_each_list(hierarchy: Hierarchy) -> None:
    """As many as there are shards, and the other kinds beside them; a further list costs none of those its place."""
    certificate._common.cache_clear()
    kept = [replace(hierarchy.contents(Kind.AGENT), crl=number) for number in (None, *range(MAX_SHARDS + 1))]
    for one in (*kept, hierarchy.contents(Kind.SERVER), hierarchy.contents(Kind.OPERATOR), *kept):
        certificate.to_be_signed(one, serial(), hierarchy.issuer)
    told = certificate._common.cache_info()
    assert (told.misses, told.hits) == (len(kept) + 2, len(kept))
    assert told.maxsize is not None


def test_pointers(hierarchy: Hierarchy) -> None:
    tbs = read(made(hierarchy, Kind.AGENT))
    [point] = value(tbs, "crl_distribution_points")
    access = {each["access_method"]: each["access_location"] for each in value(tbs, "authority_information_access")}
    assert point["distribution_point"] == [POINTERS.list(0)]
    assert access == {"ocsp": POINTERS.ocsp, "ca_issuers": POINTERS.ca_issuers}


def test_without_a_task_there_is_no_task_extension(hierarchy: Hierarchy) -> None:
    contents = hierarchy.contents(Kind.AGENT)
    plain = Contents(contents.kind, contents.holder, contents.validity)
    found = {extension.oid.dotted_string for extension in hierarchy.issue(plain).extensions}
    assert TASK_OID not in found


@pytest.mark.parametrize(
    ("not_after", "tag"),
    [
        (datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), "utc_time"),
        (datetime(2050, 1, 1, tzinfo=UTC), "general_time"),
    ],
)
def test_times_are_utc_time_through_2049(hierarchy: Hierarchy, not_after: datetime, tag: str) -> None:
    """Case 39, RFC 5280 4.1.2.5."""
    contents = hierarchy.contents(Kind.AGENT)
    validity = Validity(not_after - timedelta(days=1), not_after)
    issued = hierarchy.issue(Contents(contents.kind, contents.holder, validity))
    end = read(issued)["validity"]["not_after"]
    assert (end.name, end.native) == (tag, not_after)
    assert issued.not_valid_after_utc == not_after


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.ED25519])
def test_every_kind_of_issuing_key_signs_every_kind_of_holders_key(kind: KeyKind) -> None:
    hierarchy = Hierarchy(kind)
    for holder in (KeyKind.P256, KeyKind.P384, KeyKind.ED25519, KeyKind.RSA_2048):
        key = hierarchy.signer.generate("agent", holder)
        issued = hierarchy.issue(hierarchy.contents(Kind.AGENT, key))
        issued.verify_directly_issued_by(hierarchy.issuer.certificate)
        assert spki(issued.public_key()) == spki(key)  # type: ignore[arg-type] # compared as octets


def test_the_same_inputs_give_the_same_octets(hierarchy: Hierarchy) -> None:
    contents = hierarchy.contents(Kind.AGENT)
    one, two = (certificate.to_be_signed(contents, serial(), hierarchy.issuer) for _ in range(2))
    assert one == two
    assert one != certificate.to_be_signed(contents, serial(2), hierarchy.issuer)


def test_an_end_entity_without_names_has_no_empty_extension(hierarchy: Hierarchy) -> None:
    contents = hierarchy.contents(Kind.RESPONDER)
    holder = Holder(contents.holder.subject, contents.holder.public_key, ())
    found = {
        type(each.value) for each in hierarchy.issue(Contents(Kind.RESPONDER, holder, contents.validity)).extensions
    }
    assert x509.SubjectAlternativeName not in found


def built(kind: Kind, issuer: Issuer | None, of: x509.Certificate) -> ToBeSigned:
    """The same certificate by the library's own builder."""
    builder = (
        x509.CertificateBuilder(of.issuer, of.subject, of.public_key(), of.serial_number)
        .not_valid_before(of.not_valid_before_utc)
        .not_valid_after(of.not_valid_after_utc)
    )
    for extension in of.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return draft(builder, issuer.public_key if issuer else of.public_key())  # type: ignore[arg-type] # it is ours


@pytest.mark.parametrize("authority", [KeyKind.P256, KeyKind.P384, KeyKind.ED25519, KeyKind.RSA_2048])
@pytest.mark.parametrize("kind", Kind)
def test_byte_for_byte_what_the_librarys_builder_makes(kind: Kind, authority: KeyKind) -> None:
    hierarchy = Hierarchy(authority)
    issuer = {Kind.ROOT: None, Kind.ISSUING: hierarchy.root}.get(kind, hierarchy.issuer)
    contents = hierarchy.contents(kind)
    ours = certificate.to_be_signed(contents, serial(7), issuer)
    parsed = x509.load_der_x509_certificate(assemble(ours, b"\x00"))
    assert ours == built(kind, issuer, parsed) if issuer else ours.tbs == built(kind, issuer, parsed).tbs


@given(st.none() | st.integers(0, MAX_SHARDS))
def test_with_every_list_or_none_byte_for_byte_what_the_librarys_builder_makes(number: int | None) -> None:
    contents = replace(HIERARCHY.contents(Kind.AGENT), crl=number)
    ours = certificate.to_be_signed(contents, serial(), HIERARCHY.issuer)
    parsed = x509.load_der_x509_certificate(assemble(ours, b"\x00"))
    assert ours == built(Kind.AGENT, HIERARCHY.issuer, parsed)
    said = {type(each.value): each.value for each in parsed.extensions}
    found = {each.value for each in parsed.extensions if isinstance(each.value, x509.UnrecognizedExtension)}
    methods = {one.access_method for one in said[x509.AuthorityInformationAccess]}  # type: ignore[attr-defined] # is one
    assert (x509.CRLDistributionPoints in said) == (number is not None) == (NO_REV_AVAIL not in found)
    assert (AuthorityInformationAccessOID.OCSP in methods) == (number is not None)
    assert AuthorityInformationAccessOID.CA_ISSUERS in methods


@pytest.mark.parametrize("year", [1999, 2049, 2050, 2051, 9999])
def test_of_every_age_byte_for_byte_what_the_librarys_builder_makes(year: int) -> None:
    """Case 39; RFC 5280 4.1.2.5."""
    hierarchy = Hierarchy()
    moment = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    plain = hierarchy.contents(Kind.AGENT)
    contents = Contents(plain.kind, plain.holder, Validity(moment - timedelta(hours=1), moment))
    ours = certificate.to_be_signed(contents, serial(), hierarchy.issuer)
    assert ours == built(Kind.AGENT, hierarchy.issuer, x509.load_der_x509_certificate(assemble(ours, b"\x00")))
