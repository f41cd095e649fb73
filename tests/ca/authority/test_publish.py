"""CRLs against an oracle: what is listed is what an independent query over the raw tables says must be."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.authority import revoke
from ca.authority.lists import GRACE
from ca.identifiers import Serial
from ca.pki import crl
from ca.pki.certificate import Issuer
from ca.refusals import Reason, Refused
from ca.store import crls
from ca.store.crls import PublishedCrl
from tests.ca.authority.stage import Stage, answering, failing

LISTS = [("root-1", 0), ("issuing-1", 1), ("issuing-1", 0)]
"""As they are first published: shards before the full list, which has no delta yet."""


def whole(stage: Stage) -> tuple[PublishedCrl, PublishedCrl, PublishedCrl]:
    """The root's list, the shard and the full one, made anew."""
    made = {(one.issuer, one.shard): one for one in stage.published()}
    root, shard, full = (made[name] for name in LISTS)
    return root, shard, full


def in_force(stage: Stage, issuer: str = "issuing-1", shard: int = 1) -> PublishedCrl:
    found = stage.in_force(issuer, shard)
    assert found is not None
    return found


def listed(one: PublishedCrl) -> set[Serial]:
    return {Serial(entry.serial_number) for entry in x509.load_der_x509_crl(one.der)}


def oracle(stage: Stage, now: datetime) -> set[Serial]:
    """Revoked, and neither expired nor within a list and an hour of it: straight from the file."""
    connection = sqlite3.connect(stage.url.removeprefix("sqlite:///"))
    rows = connection.execute(
        "SELECT r.serial FROM revocations r JOIN certificates c ON c.serial = r.serial AND c.issuer = r.issuer "
        "WHERE r.issuer = 'issuing-1' AND c.not_after >= ?",
        (int((now - GRACE - stage.authority.crl_lifetime).timestamp()),),
    ).fetchall()
    connection.close()
    return {Serial.from_octets(row[0]) for row in rows}


def revoked(stage: Stage, count: int = 1) -> list[Serial]:
    serials = [stage.enrolled().intent.serial for _ in range(count)]
    for serial in serials:
        revoke.revoke_serial(stage.authority, serial, revoke.reason_of("keyCompromise"), "ops")
    return serials


def test_each_list_is_published_signed_and_in_force(stage: Stage) -> None:
    made = stage.published()
    assert [(one.issuer, one.shard) for one in made] == LISTS
    now = stage.clock().replace(microsecond=0)
    for one in made:
        signer: Issuer = stage.root if one.issuer == "root-1" else stage.issuer
        crl = x509.load_der_x509_crl(one.der)
        assert crl.is_signature_valid(signer.public_key)
        assert crl.issuer == signer.certificate.subject
        assert (crl.last_update_utc, crl.next_update_utc) == (now, now + timedelta(hours=1))
        assert (one.this_update, one.next_update) == (now, now + timedelta(hours=1))
        assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == one.number
        assert in_force(stage, one.issuer, one.shard) == one


def test_the_shard_alone_names_its_distribution_point(stage: Stage) -> None:
    points = {}
    for one in stage.published():
        found = [each.value for each in x509.load_der_x509_crl(one.der).extensions]
        points[one.issuer, one.shard] = [
            each.full_name for each in found if isinstance(each, x509.IssuingDistributionPoint)
        ]
    url = x509.UniformResourceIdentifier("http://status.example/crl/issuing-1/1.crl")
    assert points == dict(zip(LISTS, [[], [[url]], []], strict=True))


def test_the_list_a_certificate_points_to_is_the_one_that_names_that_url(ready: Stage) -> None:
    certificate = x509.load_der_x509_certificate(ready.enrolled().der)
    [point] = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    shard = x509.load_der_x509_crl(whole(ready)[1].der)
    assert shard.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value.full_name == point.full_name


def test_lists_are_complete(ready: Stage) -> None:
    """Case 15: at each step of a history, every list equals the oracle."""
    history: list[set[Serial]] = []
    for step in range(8):
        revoked(ready, step % 3)
        ready.enrolled()
        _, shard, full = whole(ready)
        expected = oracle(ready, full.this_update)
        assert listed(full) == listed(shard) == expected
        history.append(expected)
        ready.clock.forward(minutes=40)
        ready.task(f"next-{step}")
    assert any(earlier - later for earlier, later in pairwise(history)), "some have left"
    assert any(later - earlier for earlier, later in pairwise(history)), "some have come"


def test_an_entry_vanishes_only_after_its_certificate_and_a_list_beyond(ready: Stage) -> None:
    """Case 15, RFC 5280 3.3."""
    [serial] = revoked(ready)
    end = ready.issued()[0].intent.not_after
    last = end + GRACE + ready.authority.crl_lifetime
    ready.clock.now = last
    assert listed(whole(ready)[2]) == {serial}
    ready.clock.forward(seconds=1)
    assert listed(whole(ready)[2]) == set()


def test_the_roots_list_does_not_name_the_issuing_cas(ready: Stage) -> None:
    revoked(ready)
    assert listed(whole(ready)[0]) == set()


def test_an_entry_says_when_and_why(ready: Stage) -> None:
    serial = ready.enrolled().intent.serial
    revoke.revoke_serial(ready.authority, serial, revoke.reason_of("unspecified"), "ops")
    [compromised] = revoked(ready)
    crl = x509.load_der_x509_crl(whole(ready)[2].der)
    unspecified, told = (crl.get_revoked_certificate_by_serial_number(s.number) for s in (serial, compromised))
    assert unspecified is not None
    assert told is not None
    assert list(unspecified.extensions) == [], "RFC 5280 5.3.1: left out"
    reason = told.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.key_compromise
    assert told.revocation_date_utc == ready.clock().replace(microsecond=0)


def test_numbers_increase_strictly_over_all_lists_of_an_issuer(stage: Stage) -> None:
    numbers = [one.number for _ in range(4) for one in whole(stage) if one.issuer == "issuing-1"]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 8


def test_without_a_signer_the_last_list_stays_and_a_number_is_wasted(ready: Stage) -> None:
    ready.published()
    before = in_force(ready)
    ready.signer.instead = failing()
    ready.clock.forward(minutes=20)
    with pytest.raises(Refused) as caught:
        ready.published()
    assert caught.value.reason is Reason.UNAVAILABLE
    assert in_force(ready) == before
    ready.signer.instead = None
    ready.published()
    assert in_force(ready).number > before.number


def test_a_wrong_signature_is_not_published(ready: Stage) -> None:
    """Case 17."""
    ready.published()
    before = in_force(ready)
    ready.signer.instead = answering(b"\x30\x06\x02\x01\x01\x02\x01\x01")
    ready.clock.forward(minutes=20)
    with pytest.raises(Refused) as caught:
        ready.published()
    assert caught.value.reason is Reason.UNAVAILABLE
    assert in_force(ready) == before
    assert ready.signer.distrusted, "and its key is not used again until it proved itself (case 7)"


def test_a_kill_between_signature_and_publication_uses_no_number_twice(
    ready: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 16."""
    ready.published()
    signed: list[int] = []
    real = crls.put

    def killed(_connection: object, one: PublishedCrl) -> bool:
        signed.append(one.number)
        raise RuntimeError("killed")

    monkeypatch.setattr(crls, "put", killed)
    with pytest.raises(RuntimeError):
        ready.published()
    monkeypatch.setattr(crls, "put", real)
    again = [one.number for one in ready.published() if one.issuer == "root-1"]
    assert not set(signed) & set(again)


def test_the_lint_keeps_the_signer_from_a_wrong_list(ready: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    ready.signer.signed.clear()
    monkeypatch.setattr("ca.authority.lists.crl.to_be_signed", _of_another(ready))
    with pytest.raises(Refused) as caught:
        ready.published()
    assert caught.value.reason is Reason.LINT_FAILED
    assert ready.signer.signed == []


def _of_another(stage: Stage) -> object:
    real = crl.to_be_signed

    def made(issuer: Issuer, *arguments: object, **named: object) -> object:
        other = stage.issuer if issuer is stage.root else stage.root
        return real(other, *arguments, **named)  # type: ignore[arg-type]

    return made


def test_the_published_octets_are_those_signed(ready: Stage) -> None:
    ready.signer.signed.clear()
    made = ready.published()
    assert [x509.load_der_x509_crl(one.der).tbs_certlist_bytes for one in made] == ready.signer.signed
    assert all(x509.load_der_x509_crl(one.der).public_bytes(Encoding.DER) == one.der for one in made)
