from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ca.authority import infrastructure, revoke
from ca.authority.infrastructure import RESPONDER_LIFETIME, SERVER_LIFETIME
from ca.identifiers import Serial
from ca.pki.keys import PublicKey
from ca.refusals import Reason, Refused
from ca.store.filters import Filter
from ca.store.status import StatusReader
from tests.ca.authority.stage import Stage, run

NAMES = (x509.DNSName("ca.example"), x509.IPAddress(ip_address("192.0.2.1")))


def responder(stage: Stage, key: PublicKey) -> x509.Certificate:
    return x509.load_der_x509_certificate(run(infrastructure.ensure_responder(stage.authority, key)))


def server(
    stage: Stage, key: PublicKey, names: tuple[x509.GeneralName, ...] = NAMES, host: str = "ca.example"
) -> x509.Certificate:
    return x509.load_der_x509_certificate(run(infrastructure.ensure_server(stage.authority, key, names, host)))


def test_the_responder_is_delegated_and_not_asked_about(stage: Stage) -> None:
    """RFC 6960 4.2.2.2: issued by the CA itself, with OCSPSigning and nocheck."""
    made = responder(stage, stage.signer.generate("ocsp-1"))
    made.verify_directly_issued_by(stage.issuer.certificate)
    purposes = list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert purposes == [ExtendedKeyUsageOID.OCSP_SIGNING]
    assert made.extensions.get_extension_for_class(x509.OCSPNoCheck)
    now = stage.clock().replace(microsecond=0)
    assert made.not_valid_after_utc == now + RESPONDER_LIFETIME - timedelta(seconds=1)
    reader = StatusReader(stage.url)
    found = reader.responders("issuing-1", stage.clock())
    reader.close()
    assert [one.certificate for one in found] == [made]


@pytest.mark.parametrize(("passed", "renewed"), [(0, False), (4.6, False), (4.7, True), (6.9, True), (8, True)])
def test_the_responder_is_renewed_when_a_third_is_left(stage: Stage, passed: float, renewed: bool) -> None:
    key = stage.signer.generate("ocsp-1")
    first = responder(stage, key)
    stage.clock.forward(days=passed)
    second = responder(stage, key)
    assert (second != first) is renewed
    assert second.public_key() == first.public_key(), "nothing that runs has to change"


def test_renewing_by_itself_keeps_the_key_even_after_the_end(stage: Stage) -> None:
    run(infrastructure.renew_responder(stage.authority))
    assert stage.issued(Filter()) == stage.issued(Filter()), "without a first one there is nothing to renew"
    key = stage.signer.generate("ocsp-1")
    first = responder(stage, key)
    stage.clock.forward(days=30)
    run(infrastructure.renew_responder(stage.authority))
    second = responder(stage, key)
    assert second.serial_number != first.serial_number
    assert second.public_key() == key
    assert second.not_valid_after_utc > stage.clock()


def test_the_server_has_its_names(stage: Stage) -> None:
    made = server(stage, stage.signer.generate("tls"))
    assert tuple(made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == NAMES
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    now = stage.clock().replace(microsecond=0)
    assert made.not_valid_after_utc == now + SERVER_LIFETIME - timedelta(seconds=1)


def test_the_server_keeps_its_certificate_until_something_changes(stage: Stage) -> None:
    key, other = stage.signer.generate("tls"), stage.signer.generate("tls")
    first = server(stage, key)
    assert server(stage, key) == first
    renamed = server(stage, key, NAMES[:1])
    assert renamed != first
    assert server(stage, other, NAMES[:1]).public_key() == other


def test_a_revoked_server_certificate_is_replaced(stage: Stage) -> None:
    key = stage.signer.generate("tls")
    first = server(stage, key)
    revoke.revoke_serial(stage.authority, Serial(first.serial_number), revoke.reason_of("superseded"), "ops")
    assert server(stage, key).serial_number != first.serial_number


def test_a_compromised_server_key_is_not_certified_again_and_the_mend_is_said(stage: Stage) -> None:
    key, other = stage.signer.generate("tls"), stage.signer.generate("tls")
    first = server(stage, key)
    revoke.revoke_serial(stage.authority, Serial(first.serial_number), revoke.reason_of("keyCompromise"), "ops")
    with pytest.raises(Refused, match=r"tls/tls\.key") as caught:
        server(stage, key)
    assert caught.value.reason is Reason.KEY_REFUSED
    assert server(stage, other).public_key() == other


@pytest.mark.parametrize("ensure", [responder, server], ids=["responder", "server"])
def test_a_cas_key_is_nobody_elses(stage: Stage, ensure: Callable[[Stage, PublicKey], x509.Certificate]) -> None:
    """Case 30: the OCSP responder's key is not the CA's."""
    signed = list(stage.signer.signed)
    for ca in (stage.root, stage.issuer):
        with pytest.raises(Refused) as caught:
            ensure(stage, ca.public_key)
        assert caught.value.reason is Reason.KEY_REFUSED
    assert stage.signer.signed == signed


def test_a_long_host_name_fits_its_subject(stage: Stage) -> None:
    host = "a" * 60 + ".example"
    made = server(stage, stage.signer.generate("tls"), (x509.DNSName(host),), host)
    assert made.subject.rfc4514_string() == f"CN={host[:64]},O=Remit"
