"""CRLs, read by cryptography and, independently, by asn1crypto (RFC 5280 5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import core
from asn1crypto import crl as independent
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ca.hsm import KeyKind
from ca.identifiers import Serial
from ca.pki import crl
from ca.pki.crl import Scope
from ca.pki.profile import Kind
from tests.ca.pki.specimens import NOW, POINTERS, Hierarchy

NEXT = NOW + timedelta(hours=1)
SHARD = Scope(1, POINTERS.list(1))
REASONS = (
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.key_compromise,
    x509.ReasonFlags.affiliation_changed,
    x509.ReasonFlags.superseded,
    x509.ReasonFlags.cessation_of_operation,
    x509.ReasonFlags.privilege_withdrawn,
    x509.ReasonFlags.certificate_hold,
)
ENTRIES = st.lists(
    st.tuples(
        st.integers(1, (1 << 160) - 1).map(Serial),
        st.datetimes(datetime(2000, 1, 1), datetime(2080, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 (made aware)
        st.sampled_from(REASONS),
    ),
    max_size=8,
    unique_by=lambda one: one[0],
)
Entry = tuple[Serial, datetime, x509.ReasonFlags]


def listed(hierarchy: Hierarchy, entries: list[Entry], number: int = 7, scope: Scope = SHARD) -> bytes:
    to_be_signed = crl.to_be_signed(
        hierarchy.issuer,
        (crl.entry(*one) for one in entries),
        number=number,
        this_update=NOW,
        next_update=NEXT,
        scope=scope,
    )
    return hierarchy.sealed(to_be_signed, hierarchy.issuer.public_key)


def parsed(der: bytes) -> independent.TbsCertList:
    """As the other parser sees it; it re-encodes to the same octets."""
    read = independent.CertificateList.load(der, strict=True)
    assert read.dump(force=True) == der
    return read["tbs_cert_list"]


@given(ENTRIES)
def test_two_parsers_read_what_was_written_in_its_order(hierarchy: Hierarchy, entries: list[Entry]) -> None:
    der = listed(hierarchy, entries)
    expected = [(serial.number, at.replace(microsecond=0)) for serial, at, _ in entries]
    theirs = parsed(der)["revoked_certificates"]
    assert [(one["user_certificate"].native, one["revocation_date"].native) for one in theirs] == expected
    ours = x509.load_der_x509_crl(der)
    assert [(one.serial_number, one.revocation_date_utc) for one in ours] == expected
    assert [reason_of(one) for one in ours] == [reason for _, _, reason in entries]


def reason_of(one: x509.RevokedCertificate) -> x509.ReasonFlags:
    found = [each.value.reason for each in one.extensions if isinstance(each.value, x509.CRLReason)]
    return found[0] if found else x509.ReasonFlags.unspecified


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_any_number_of_entries(hierarchy: Hierarchy, count: int) -> None:
    entries = [(Serial(1 + i), NOW, REASONS[i % len(REASONS)]) for i in range(count)]
    der = listed(hierarchy, entries)
    ours = x509.load_der_x509_crl(der)
    assert len(ours) == len(parsed(der)["revoked_certificates"]) == count
    assert ours.is_signature_valid(hierarchy.issuer.public_key)


def test_no_entries_means_no_list(hierarchy: Hierarchy) -> None:
    """RFC 5280 5.1.2.6: absent, not empty."""
    assert isinstance(parsed(listed(hierarchy, []))["revoked_certificates"], core.Void)


def test_a_hundred_thousand_entries(hierarchy: Hierarchy) -> None:
    entries = [(Serial(1 + i), NOW, x509.ReasonFlags.superseded) for i in range(100_000)]
    ours = x509.load_der_x509_crl(listed(hierarchy, entries))
    assert len(ours) == 100_000
    assert ours.is_signature_valid(hierarchy.issuer.public_key)
    assert ours.get_revoked_certificate_by_serial_number(99_999) is not None
    assert ours.get_revoked_certificate_by_serial_number(100_001) is None


def test_fixed_fields(hierarchy: Hierarchy) -> None:
    tbs = parsed(listed(hierarchy, [(Serial(1), NOW, x509.ReasonFlags.key_compromise)]))
    assert tbs["version"].native == "v2"
    assert tbs["signature"]["algorithm"].native == "sha256_ecdsa"
    assert tbs["issuer"].dump() == hierarchy.issuer.certificate.subject.public_bytes()
    assert (tbs["this_update"].native, tbs["next_update"].native) == (NOW, NEXT)


@pytest.mark.parametrize("number", [1, 127, 128, 2**63 - 1])
def test_the_number_is_carried(hierarchy: Hierarchy, number: int) -> None:
    extensions = {one["extn_id"].native: one for one in parsed(listed(hierarchy, [], number))["crl_extensions"]}
    assert extensions["crl_number"]["extn_value"].native == number
    assert not extensions["crl_number"]["critical"].native


def test_a_shard_names_its_url_critically(hierarchy: Hierarchy) -> None:
    extensions = {one["extn_id"].native: one for one in parsed(listed(hierarchy, []))["crl_extensions"]}
    assert set(extensions) == {"authority_key_identifier", "crl_number", "issuing_distribution_point"}
    point = extensions["issuing_distribution_point"]
    assert point["critical"].native
    assert point["extn_value"].native == {
        "distribution_point": [POINTERS.list(1)],
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }


def test_the_shards_url_is_the_one_in_the_certificates(hierarchy: Hierarchy) -> None:
    """RFC 5280 6.3.3 (b) (2): otherwise the list does not cover the certificate."""
    leaf = hierarchy.issue(replace(hierarchy.contents(Kind.AGENT), crl=1))
    [point] = leaf.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    shard = x509.load_der_x509_crl(listed(hierarchy, []))
    assert shard.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value.full_name == point.full_name


def test_the_full_list_names_no_distribution_point(hierarchy: Hierarchy) -> None:
    extensions = {one["extn_id"].native for one in parsed(listed(hierarchy, [], scope=Scope()))["crl_extensions"]}
    assert extensions == {"authority_key_identifier", "crl_number"}


@pytest.mark.parametrize(
    ("at", "tag"),
    [
        (datetime(2049, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "utc_time"),
        (datetime(2050, 1, 1, tzinfo=UTC), "general_time"),
    ],
)
def test_dates_are_utc_time_through_2049(hierarchy: Hierarchy, at: datetime, tag: str) -> None:
    """Case 39, RFC 5280 5.1.2.6."""
    [one] = parsed(listed(hierarchy, [(Serial(1), at, x509.ReasonFlags.superseded)]))["revoked_certificates"]
    assert one["revocation_date"].name == tag
    assert one["revocation_date"].native == at.replace(microsecond=0)


def test_golden_entries() -> None:
    """By hand, from RFC 5280 5.3: `unspecified` is absent, another reason is an ENUMERATED in its extension."""
    at = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    time = "170d" + b"310506070809Z".hex()
    plain = bytes.fromhex("3012" + "020105" + time)
    reasoned = bytes.fromhex("3020" + "020105" + time + "300c300a0603551d1504030a0101")
    assert crl.entry(Serial(5), at, x509.ReasonFlags.unspecified) == plain
    assert crl.entry(Serial(5), at, x509.ReasonFlags.key_compromise) == reasoned


def test_a_serial_with_its_first_bit_set_stays_positive() -> None:
    assert crl.entry(Serial(0xFF), NOW, x509.ReasonFlags.unspecified)[2:6] == b"\x02\x02\x00\xff"


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.ED25519, KeyKind.RSA_2048])
def test_every_kind_of_key_signs_lists(kind: KeyKind) -> None:
    hierarchy = Hierarchy(kind)
    for entries in ([], [(Serial(1), NOW, x509.ReasonFlags.superseded)]):
        assert x509.load_der_x509_crl(listed(hierarchy, entries)).is_signature_valid(hierarchy.issuer.public_key)
