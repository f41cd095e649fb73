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
SHARD = Scope(distribution_point=POINTERS.list(1))
ASSIGNED = st.builds(Serial.assign, st.integers(0x01, 0x7F), st.binary(min_size=18, max_size=18))
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2080, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (made aware)
REASONS = (
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.key_compromise,
    x509.ReasonFlags.affiliation_changed,
    x509.ReasonFlags.superseded,
    x509.ReasonFlags.cessation_of_operation,
    x509.ReasonFlags.privilege_withdrawn,
    x509.ReasonFlags.certificate_hold,
    x509.ReasonFlags.remove_from_crl,
)
ENTRIES = st.lists(
    st.tuples(
        st.integers(1, (1 << 160) - 1).map(Serial),
        MOMENTS,
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


def test_a_full_list_names_its_delta(hierarchy: Hierarchy) -> None:
    """RFC 5280 5.2.6: never critical."""
    tbs = parsed(listed(hierarchy, [], scope=Scope(freshest=POINTERS.delta)))
    extensions = {one["extn_id"].native: one for one in tbs["crl_extensions"]}
    assert set(extensions) == {"authority_key_identifier", "crl_number", "freshest_crl"}
    assert not extensions["freshest_crl"]["critical"].native
    [point] = extensions["freshest_crl"]["extn_value"].native
    assert point == {"distribution_point": [POINTERS.delta], "reasons": None, "crl_issuer": None}


def test_a_delta_says_critically_on_which_list_it_stands(hierarchy: Hierarchy) -> None:
    """RFC 5280 5.2.4."""
    tbs = parsed(listed(hierarchy, [(Serial(1), NOW, x509.ReasonFlags.remove_from_crl)], scope=Scope(base=5)))
    extensions = {one["extn_id"].native: one for one in tbs["crl_extensions"]}
    assert set(extensions) == {"authority_key_identifier", "crl_number", "delta_crl_indicator"}
    assert extensions["delta_crl_indicator"]["critical"].native
    assert extensions["delta_crl_indicator"]["extn_value"].native == 5


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


@given(ASSIGNED, MOMENTS, st.sampled_from(REASONS))
def test_a_frame_holds_any_serial(serial: Serial, at: datetime, reason: x509.ReasonFlags) -> None:
    before, after = crl.frame(at, reason)
    assert before + serial.octets + after == crl.entry(serial, at, reason)


@given(st.lists(st.tuples(ASSIGNED, MOMENTS, st.sampled_from(REASONS)), max_size=20))
def test_the_serials_of_any_entries_are_found_again(entries: list[Entry]) -> None:
    der = b"".join(crl.entry(*one) for one in entries)
    assert crl.serials(der) == {serial.octets for serial, _, _ in entries}


@given(st.lists(st.tuples(ASSIGNED, MOMENTS, st.sampled_from(REASONS)), max_size=20))
def test_so_are_those_of_a_signed_list(hierarchy: Hierarchy, entries: list[Entry]) -> None:
    signed = x509.load_der_x509_crl(listed(hierarchy, entries))
    found = crl.parts(signed.tbs_certlist_bytes)
    assert (found.entries or b"") == b"".join(crl.entry(*one) for one in entries)
    assert crl.serials(found.entries) == {serial.octets for serial, _, _ in entries}


@pytest.mark.parametrize("count", [0, 1, 3, 4, 700, 30_000])
def test_the_entries_of_a_list_of_any_length_are_taken_out_of_it(hierarchy: Hierarchy, count: int) -> None:
    """One, two and three octets of length, and none."""
    der = b"".join(crl.entry(assigned(number), NOW, x509.ReasonFlags.superseded) for number in range(count))
    made = crl.to_be_signed(hierarchy.issuer, [der], number=7, this_update=NOW, next_update=NEXT, scope=Scope())
    assert crl.parts(made.tbs).entries == (der or None)


def run(entries: list[Entry]) -> tuple[bytes, bytes]:
    """Entries of one length, as the database joins them, and the serials of their rows."""
    return b"".join(crl.entry(*one) for one in entries), b"".join(serial.octets for serial, _, _ in entries)


# Of one length: any reason but none, and any time through 2049.
EARLY = st.datetimes(datetime(2000, 1, 1), datetime(2049, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 (made aware)
RUNS = st.lists(st.tuples(ASSIGNED, EARLY, st.sampled_from(REASONS[1:])), max_size=9, unique_by=lambda one: one[0])


@given(RUNS)
def test_entries_name_the_serials_they_were_made_of(entries: list[Entry]) -> None:
    assert crl.names(*run(entries))


@given(RUNS.filter(bool), st.data())
def test_one_octet_of_a_serial_makes_them_others(entries: list[Entry], data: st.DataObject) -> None:
    der, serials = run(entries)
    at, bits = data.draw(st.integers(0, len(serials) - 1)), data.draw(st.integers(1, 255))
    flipped = bytearray(serials)
    flipped[at] ^= bits
    assert not crl.names(der, bytes(flipped))


@given(RUNS.filter(lambda entries: len(entries) > 1), st.data())
def test_their_order_counts(entries: list[Entry], data: st.DataObject) -> None:
    der, _ = run(entries)
    other = data.draw(st.permutations(entries).filter(lambda swapped: swapped != entries))
    assert not crl.names(der, run(other)[1])


@given(RUNS, ASSIGNED, st.data())
def test_one_too_few_or_too_many_is_seen(entries: list[Entry], serial: Serial, data: st.DataObject) -> None:
    more = list(entries)
    more.insert(data.draw(st.integers(0, len(entries))), (serial, NOW, x509.ReasonFlags.superseded))
    assert not crl.names(run(entries)[0], run(more)[1]), "missing"
    assert not crl.names(run(more)[0], run(entries)[1]), "additional"


@given(RUNS.filter(bool))
def test_nor_are_twice_as_many_taken_for_theirs(entries: list[Entry]) -> None:
    der, serials = run(entries)
    assert not crl.names(run([one for one in entries for _ in (0, 1)])[0], serials)
    assert not crl.names(der, serials * 2)
    assert not crl.names(der[:-1], serials)
    assert not crl.names(der, serials[:-1])


def assigned(number: int) -> Serial:
    return Serial.assign(1, number.to_bytes(18, "big"))


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.ED25519, KeyKind.RSA_2048])
def test_every_kind_of_key_signs_lists(kind: KeyKind) -> None:
    hierarchy = Hierarchy(kind)
    for entries in ([], [(Serial(1), NOW, x509.ReasonFlags.superseded)]):
        assert x509.load_der_x509_crl(listed(hierarchy, entries)).is_signature_valid(hierarchy.issuer.public_key)
