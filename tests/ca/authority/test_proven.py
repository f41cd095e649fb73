"""A key that is out, shown by whoever has it: the signature is the proof, and strangers learn nothing else."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ca.authority import compromise, desk, infrastructure
from ca.authority.claims import Application, ByToken
from ca.authority.compromise import HOLDER, PROOF
from ca.identifiers import Thumbprint
from ca.pki import keys
from ca.policy.ceiling import Asked
from ca.refusals import Reason, Refused
from ca.store import blocked_keys, certificates
from ca.store.filters import Filter
from ca.store.status import Good, Revoked
from ca.store.tables import revocations
from tests.ca.authority.stage import Key, Stage, new_key, request, run


def named(name: str, *more: x509.NameAttribute[str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), *more])


def prove(stage: Stage, key: Key, subject: x509.Name = PROOF) -> Thumbprint:
    return compromise.revoke_proven(stage.authority, request(key, subject=subject))


def is_blocked(stage: Stage, key: Key) -> bool:
    digest = keys.thumbprint(key.public_key())
    with stage.database.read() as connection:
        return blocked_keys.blocked(connection, [digest]) == {digest}


def test_everything_of_the_key_is_revoked_and_it_is_blocked(ready: Stage) -> None:
    key = new_key()
    mine, other = [ready.enrol(ready.token(), key) for _ in range(2)], ready.enrolled()
    assert prove(ready, key) == keys.thumbprint(key.public_key())
    at = ready.clock().replace(microsecond=0)
    for issued in mine:
        assert ready.status(issued.intent) == Revoked(at, x509.ReasonFlags.key_compromise)
    assert ready.status(other.intent) == Good()
    assert is_blocked(ready, key)
    with pytest.raises(Refused) as caught:
        ready.enrol(ready.token(), key)
    assert caught.value.reason is Reason.KEY_REFUSED


def test_a_key_whose_certificates_have_all_expired_is_blocked(ready: Stage) -> None:
    key = new_key()
    issued = ready.enrol(ready.token(), key)
    ready.clock.forward(minutes=16)
    prove(ready, key)
    assert is_blocked(ready, key)
    assert ready.status(issued.intent) == Good()


def test_a_key_that_is_not_known_changes_nothing_and_the_answer_is_the_same(ready: Stage) -> None:
    """Whether it is known here is nobody's business, and strangers do not fill the table."""
    key = new_key()
    before = len(ready.audited("key.block"))
    assert prove(ready, key) == keys.thumbprint(key.public_key())
    assert not is_blocked(ready, key)
    assert len(ready.audited("key.block")) == before
    assert ready.enrol(ready.token(), key)


@pytest.mark.parametrize(
    "subject",
    [
        x509.Name([]),
        named("agent"),
        named("proof of key compromise"),
        named("Proof of Key Compromise "),
        named("Proof of Key Compromise", x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Remit")),
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Proof of Key Compromise")]),
    ],
    ids=lambda name: name.rfc4514_string() or "empty",
)
def test_a_request_for_a_certificate_is_no_proof(ready: Stage, subject: x509.Name) -> None:
    """Those are seen by whoever stands in between: none can be turned against its sender."""
    key = new_key()
    issued = ready.enrol(ready.token(), key)
    with pytest.raises(Refused, match="Proof of Key Compromise") as caught:
        prove(ready, key, subject)
    assert caught.value.reason is Reason.MALFORMED
    assert ready.status(issued.intent) == Good()
    assert not is_blocked(ready, key)


def test_a_proof_is_no_request_for_a_certificate(ready: Stage) -> None:
    with pytest.raises(Refused) as caught:
        run(
            desk.apply(ready.authority, Application(ByToken(ready.token()), request(new_key(), subject=PROOF), Asked()))
        )
    assert caught.value.reason is Reason.CSR_IDENTITY


@pytest.mark.parametrize("whose", ["root-1", "issuing-1", "ocsp-1"])
def test_the_authoritys_own_key_is_refused(ready: Stage, whose: str) -> None:
    responder = ready.signer.generate("ocsp-1")
    run(infrastructure.ensure_responder(ready.authority, responder))
    own = {"root-1": ready.root.public_key, "issuing-1": ready.issuer.public_key, "ocsp-1": responder}[whose]
    digest = keys.thumbprint(own)
    stolen = next(key for key in ready.signer._keys.values() if keys.thumbprint(key.public_key()) == digest)
    assert isinstance(stolen, ec.EllipticCurvePrivateKey)
    with pytest.raises(Refused, match="the authority itself") as caught:
        prove(ready, stolen)
    assert caught.value.reason is Reason.CONFLICT
    with ready.database.read() as connection:
        assert blocked_keys.blocked(connection, [digest]) == set()
        assert certificates.count(connection, revocations.c.serial.is_not(None)) == 0


def test_said_twice_nothing_changes(ready: Stage) -> None:
    key = new_key()
    issued = ready.enrol(ready.token(), key)
    prove(ready, key)
    before = ready.record(issued)
    ready.clock.forward(minutes=1)
    prove(ready, key)
    assert ready.record(issued) == before
    assert len(ready.audited("key.block")) == len(ready.audited("certificate.revoke")) == 1


def test_the_trail_says_that_nobody_was_believed(ready: Stage) -> None:
    key = new_key()
    issued = ready.enrol(ready.token(), key)
    prove(ready, key)
    [revoked], [blocked] = ready.audited("certificate.revoke"), ready.audited("key.block")
    assert (revoked.actor, revoked.serial) == (HOLDER, str(issued.intent.serial))
    assert revoked.detail == {"reason": "keyCompromise", "proof": "signature"}
    assert (blocked.actor, blocked.detail["proof"]) == (HOLDER, "signature")
    assert ready.issued(Filter(key=keys.thumbprint(key.public_key())))
