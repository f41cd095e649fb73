from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from ca.authority import operators
from ca.identifiers import OperatorName
from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import operators as store
from ca.store.operators import Operator, Role
from ca.store.status import Good
from tests.ca.authority.stage import Stage, failing, new_key, request, run

OPS = OperatorName("ops")
SPIFFE = x509.UniformResourceIdentifier("spiffe://agents.example/operator/ops")


def found(stage: Stage) -> Operator | None:
    with stage.database.read() as connection:
        return store.find(connection, OPS)


def test_an_operator_gets_a_credential_for_its_own_key(stage: Stage) -> None:
    key = new_key()
    operator, issued = run(operators.add(stage.authority, OPS, Role.AUDITOR, request(key), "ceremony"))
    made = x509.load_der_x509_certificate(issued.der)
    now = stage.clock().replace(microsecond=0)
    assert operator == found(stage) == Operator(OPS, Role.AUDITOR, now)
    assert made.subject.rfc4514_string() == "CN=ops,OU=operators,O=Remit"
    assert list(made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [SPIFFE]
    assert made.public_key() == key.public_key()
    assert made.not_valid_after_utc == now + timedelta(days=90) - timedelta(seconds=1)
    assert (issued.intent.kind, issued.intent.tenant, issued.intent.holder) == (Kind.OPERATOR, None, "ops")
    assert stage.status(issued.intent) == Good()
    [entry] = stage.audited("operator.add")
    assert (entry.actor, entry.detail) == ("ceremony", {"name": "ops", "role": "auditor"})


def test_a_name_is_taken_once_and_nothing_is_signed_for_the_second(stage: Stage) -> None:
    run(operators.add(stage.authority, OPS, Role.AUDITOR, request(new_key()), "ceremony"))
    signed = len(stage.signer.signed)
    with pytest.raises(Refused) as caught:
        run(operators.add(stage.authority, OPS, Role.ADMIN, request(new_key()), "mallory"))
    assert caught.value.reason is Reason.CONFLICT
    assert len(stage.signer.signed) == signed
    assert stage.unfinished() == []
    kept = found(stage)
    assert kept is not None
    assert kept.role is Role.AUDITOR
    assert len(stage.audited("operator.add")) == 1


def test_a_further_certificate_registers_nobody(stage: Stage) -> None:
    _, first = run(operators.add(stage.authority, OPS, Role.AUDITOR, request(new_key()), "ceremony"))
    second = run(operators.renew(stage.authority, OPS, request(new_key()), "ops"))
    assert second.intent.serial != first.intent.serial
    assert stage.status(first.intent) == stage.status(second.intent) == Good()
    assert len(stage.audited("operator.add")) == 1


def test_names_of_another_in_the_csr_are_refused(stage: Stage) -> None:
    other = x509.UniformResourceIdentifier("spiffe://agents.example/operator/admin")
    with pytest.raises(Refused) as caught:
        run(operators.add(stage.authority, OPS, Role.AUDITOR, request(new_key(), other), "ceremony"))
    assert caught.value.reason is Reason.CSR_IDENTITY
    assert found(stage) is None
    assert stage.signer.signed == []


def test_a_fault_of_the_signer_gives_no_credential(stage: Stage) -> None:
    stage.signer.instead = failing()
    with pytest.raises(Refused) as caught:
        run(operators.add(stage.authority, OPS, Role.AUDITOR, request(new_key()), "ceremony"))
    assert caught.value.reason is Reason.UNAVAILABLE
    [left] = stage.unfinished()
    assert left.holder == "ops"


def test_a_blocked_key_is_no_operators(stage: Stage) -> None:
    """Case 10: neither at first nor at a renewal."""
    key, other = new_key(), new_key()
    stage.block(key)
    with pytest.raises(Refused) as caught:
        run(operators.add(stage.authority, OPS, Role.AUDITOR, request(key), "ceremony"))
    assert caught.value.reason is Reason.KEY_REFUSED
    assert found(stage) is None
    assert stage.signer.signed == []
    run(operators.add(stage.authority, OPS, Role.AUDITOR, request(other), "ceremony"))
    with pytest.raises(Refused) as caught:
        run(operators.renew(stage.authority, OPS, request(key), "ceremony"))
    assert caught.value.reason is Reason.KEY_REFUSED


def test_a_compromised_operators_key_loses_every_credential(stage: Stage) -> None:
    """Case 19."""
    key = new_key()
    _, first = run(operators.add(stage.authority, OPS, Role.AUDITOR, request(key), "ceremony"))
    second = run(operators.renew(stage.authority, OPS, request(key), "ceremony"))
    stage.block(key)
    assert {stage.record(one).reason for one in (first, second)} == {"keyCompromise"}
