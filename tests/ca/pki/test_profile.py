from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from ca.identifiers import AgentId, OperatorName, TenantId
from ca.pki import profile
from ca.pki.profile import BACKDATE, PROFILES, Kind
from ca.refusals import Reason, Refused
from tests.ca.pki.specimens import NOW

SECOND = timedelta(seconds=1)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (made aware)
LIFETIMES = st.timedeltas(timedelta(0), timedelta(days=400))


def test_every_kind_has_its_profile() -> None:
    assert set(PROFILES) == set(Kind)
    assert all(kind is one.kind for kind, one in PROFILES.items())


def test_only_the_cas_are_cas() -> None:
    assert {kind for kind, one in PROFILES.items() if one.certificate_authority} == {Kind.ROOT, Kind.ISSUING}
    assert PROFILES[Kind.ISSUING].path_length == 0


def test_each_end_entity_has_one_purpose() -> None:
    assert {kind: one.purpose for kind, one in PROFILES.items() if one.purpose} == {
        Kind.RESPONDER: ExtendedKeyUsageOID.OCSP_SIGNING,
        Kind.SERVER: ExtendedKeyUsageOID.SERVER_AUTH,
        Kind.OPERATOR: ExtendedKeyUsageOID.CLIENT_AUTH,
        Kind.AGENT: ExtendedKeyUsageOID.CLIENT_AUTH,
    }


def test_a_responder_is_not_asked_about() -> None:
    """RFC 6960 4.2.2.2.1: with nocheck, and so without pointers."""
    responder = PROFILES[Kind.RESPONDER]
    assert responder.no_check
    assert not responder.points_to_ocsp
    assert [kind for kind, one in PROFILES.items() if one.no_check] == [Kind.RESPONDER]


def test_profiles_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        PROFILES[Kind.AGENT].certificate_authority = True  # type: ignore[misc]


@given(MOMENTS, LIFETIMES, st.lists(st.none() | MOMENTS, max_size=4))
def test_validity_never_exceeds_anything(now: datetime, lifetime: timedelta, ends: list[datetime | None]) -> None:
    try:
        valid = profile.validity(now, lifetime, *ends)
    except Refused as refusal:
        assert refusal.reason is Reason.LIFETIME_REFUSED
        limits = [now + lifetime, *(end for end in ends if end is not None)]
        assert min(limits) < now + 2 * SECOND, "something remained"
        return
    assert all(valid.not_after <= end for end in ends if end is not None)
    assert valid.not_after > now - SECOND
    # Both ends count (RFC 5280 4.1.2.5), so this many seconds and no more.
    assert valid.not_after + SECOND - (valid.not_before + BACKDATE) <= lifetime
    assert timedelta(0) <= now - valid.not_before < BACKDATE + SECOND
    assert valid.not_before.microsecond == valid.not_after.microsecond == 0


def test_validity_counts_its_last_second() -> None:
    valid = profile.validity(NOW + timedelta(microseconds=999_999), timedelta(minutes=15))
    assert valid.not_before == NOW - timedelta(seconds=60)
    assert valid.not_after == NOW + timedelta(seconds=899)


@given(MOMENTS, st.integers(2, 10**6).map(lambda seconds: timedelta(seconds=seconds)))
def test_what_was_granted_is_how_long_it_holds(now: datetime, lifetime: timedelta) -> None:
    assert profile.validity(now, lifetime).lifetime == lifetime


def test_an_end_that_comes_sooner_shortens_it() -> None:
    assert profile.validity(NOW, timedelta(hours=1), NOW + timedelta(seconds=89)).lifetime == timedelta(seconds=90)


@pytest.mark.parametrize(
    ("lifetime", "end"),
    [
        (timedelta(0), None),
        (SECOND, None),
        (timedelta(seconds=-5), None),
        (timedelta(hours=1), NOW),
        (timedelta(hours=1), NOW - timedelta(days=1)),
        (timedelta(hours=1), NOW + timedelta(microseconds=5)),
    ],
)
def test_no_lifetime_is_refused(lifetime: timedelta, end: datetime | None) -> None:
    with pytest.raises(Refused) as caught:
        profile.validity(NOW, lifetime, end)
    assert caught.value.reason is Reason.LIFETIME_REFUSED


def test_an_agents_subject_is_as_rfc_4514_writes_it() -> None:
    subject = profile.agent_subject("Remit", TenantId("acme"), AgentId("bot"))
    assert subject.rfc4514_string() == "CN=bot,OU=acme,O=Remit"
    assert [attribute.oid for attribute in subject] == [
        NameOID.ORGANIZATION_NAME,
        NameOID.ORGANIZATIONAL_UNIT_NAME,
        NameOID.COMMON_NAME,
    ]


def test_an_operators_subject() -> None:
    assert profile.operator_subject("Remit", OperatorName("ops")).rfc4514_string() == "CN=ops,OU=operators,O=Remit"


def test_an_authoritys_subject() -> None:
    assert profile.authority_subject("Remit", "Root CA").rfc4514_string() == "CN=Root CA,O=Remit"


@pytest.mark.parametrize("organisation", ["Remit", "Remit, Inc.", " +\"'<>;#=\\", "#1", "Ö", "a b "])
def test_a_distinguished_name_is_the_subjects(organisation: str) -> None:
    """Built beside it, because the hook says it in every answer."""
    tenant, agent = TenantId("acme"), AgentId("bot.one_2-3")
    assert (
        profile.agent_dn(organisation, tenant, agent)
        == profile.agent_subject(organisation, tenant, agent).rfc4514_string()
    )
