"""Intent, signature, result, and what is true if we die in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from sqlalchemy import event, update

from ca.authority import desk, issuance
from ca.authority.claims import Application, ByToken
from ca.authority.issuance import Decision
from ca.identifiers import Serial
from ca.pki import profile
from ca.pki.certificate import Contents, Holder
from ca.pki.profile import Kind
from ca.policy.ceiling import Asked
from ca.refusals import Reason, Refused
from ca.store import tokens
from ca.store.certificates import Intent, State
from ca.store.status import Good, Intended
from ca.store.tables import certificates
from ca.store.transaction import Connection
from tests.ca.authority.stage import AGENT, TENANT, Stage, answering, failing, new_key, request, run


def decision(stage: Stage, **changes: object) -> Decision:
    subject = profile.authority_subject("Remit", "api.example")
    holder = Holder(subject, new_key().public_key(), (x509.DNSName("api.example"),))
    contents = Contents(Kind.SERVER, holder, profile.validity(stage.clock(), timedelta(days=1)))
    return replace(Decision(contents, holder="api.example", actor="authority"), **changes)


def issue(stage: Stage, made: Decision | None = None) -> issuance.Issued:
    return run(stage.authority.line.issue(lambda *_: [made or decision(stage)], None))


def stored(intent: Intent) -> Intent:
    """As the database keeps it: in whole seconds."""
    return replace(intent, created_at=intent.created_at.replace(microsecond=0))


def refusal(stage: Stage, made: Decision | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        issue(stage, made)
    return caught.value


def test_what_is_issued_is_stored_good_and_exactly_what_was_signed(stage: Stage) -> None:
    issued = issue(stage)
    certificate = x509.load_der_x509_certificate(issued.der)
    certificate.verify_directly_issued_by(stage.issuer.certificate)
    record = stage.record(issued)
    assert (record.der, record.x5t, record.intent) == (
        issued.der,
        issued.x5t,
        replace(issued.intent, created_at=record.intent.created_at),
    )
    assert stage.signer.signed == [record.intent.to_be_signed.tbs] == [certificate.tbs_certificate_bytes]
    assert stage.status(issued.intent) == Good()


def test_the_intent_is_durable_before_the_signer_is_asked(stage: Stage) -> None:
    """Case 1: at the moment of signing, another connection sees the very bytes."""
    seen: list[bytes] = []

    def sign(key: object, messages: object) -> object:
        seen.extend(one.to_be_signed.tbs for one in stage.unfinished())
        stage.signer.instead = None
        return stage.signer.sign(key, messages)  # type: ignore[arg-type]

    stage.signer.instead = sign  # type: ignore[assignment]
    issue(stage)
    assert seen == stage.signer.signed
    assert stage.unfinished() == []


def test_serials_carry_the_replica_and_144_random_bits(stage: Stage) -> None:
    stage.authority = stage.over(stage.database, replica=lambda _: 0x2A, random=bytes)
    assert issue(stage).intent.serial == Serial.assign(0x2A, bytes(18))


def test_a_hundred_serials_differ(stage: Stage) -> None:
    drawn = {issue(stage).intent.serial for _ in range(100)}
    assert len(drawn) == 100
    assert all(len(serial.octets) == 19 for serial in drawn)


def test_a_collision_of_serials_is_drawn_again_before_anything_is_signed(stage: Stage) -> None:
    """Case 5: the first certificate keeps its serial, the second gets another."""
    draws = iter([bytes(18), bytes(18), bytes(18), b"another serial, 18"])
    stage.authority = stage.over(stage.database, random=lambda _: next(draws))
    first, second = issue(stage), issue(stage)
    assert second.intent.serial == Serial.assign(1, b"another serial, 18")
    assert stage.record(first).der == first.der
    assert stage.signer.signed == [one.intent.to_be_signed.tbs for one in (first, second)]


def test_a_source_of_randomness_that_is_stuck_signs_nothing(stage: Stage) -> None:
    """Case 5."""
    stage.authority = stage.over(stage.database, random=bytes)
    first = issue(stage)
    assert refusal(stage).reason is Reason.CONFLICT
    assert len(stage.signer.signed) == 1
    assert stage.record(first).der == first.der


def test_a_fault_of_the_signer_withholds_and_the_row_is_not_good(stage: Stage) -> None:
    """Case 24."""
    stage.signer.instead = failing()
    assert refusal(stage).reason is Reason.UNAVAILABLE
    [left] = stage.unfinished()
    assert stage.status(left) == Intended(left.created_at)
    assert stage.issued() == []


def test_what_a_fault_says_to_callers_names_nothing_inside(stage: Stage) -> None:
    stage.signer.instead = failing("The key 'issuing-1' in /var/token is missing.")
    assert "issuing-1" not in refusal(stage).detail


def swapped(signature: bytes) -> bytes:
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(s, r)


WRONG = {
    "empty": lambda _: b"",
    "zeros": lambda right: bytes(len(right)),
    "r and s swapped": swapped,
    "a bit flipped": lambda right: right[:-1] + bytes([right[-1] ^ 1]),
    "cut short": lambda right: right[:-1],
}


@pytest.mark.parametrize("spoil", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_signature_is_withheld(stage: Stage, spoil: object) -> None:
    """Case 7."""

    def sign(key: object, messages: object) -> object:
        stage.signer.instead = None
        [right] = stage.signer.sign(key, messages).result()  # type: ignore[arg-type]
        return answering(spoil(right))(key, messages)  # type: ignore[operator,arg-type]

    stage.signer.instead = sign  # type: ignore[assignment]
    assert refusal(stage).reason is Reason.UNAVAILABLE
    [left] = stage.unfinished()
    assert stage.status(left) == Intended(left.created_at)


@pytest.mark.parametrize("wrong", ["other key", "other bytes"])
def test_a_signature_by_another_key_or_over_other_bytes_is_withheld(stage: Stage, wrong: str) -> None:
    key = stage.root.public_key if wrong == "other key" else stage.issuer.public_key

    def sign(_key: object, messages: list[bytes]) -> object:
        stage.signer.instead = None
        return stage.signer.sign(key, messages if wrong == "other key" else [messages[0] + b"\x00"])

    stage.signer.instead = sign  # type: ignore[assignment]
    assert refusal(stage).reason is Reason.UNAVAILABLE
    assert len(stage.unfinished()) == 1


def test_a_lint_failure_signs_nothing_and_stores_nothing(stage: Stage) -> None:
    """Case 6: no signature, no row, and the proof is not spent."""
    stored: list[Connection] = []
    sound = decision(stage)
    past = profile.Validity(stage.clock() - timedelta(days=2), stage.clock() - timedelta(days=1))
    made = replace(sound, contents=replace(sound.contents, validity=past), alongside=stored.append)
    assert refusal(stage, made).reason is Reason.LINT_FAILED
    assert stage.signer.signed == []
    assert stage.unfinished() == []
    assert stored == []
    assert stage.audited("certificate.intend") == []


def test_what_cannot_be_stored_alongside_signs_nothing(stage: Stage) -> None:
    def alongside(_connection: Connection) -> None:
        raise Refused(Reason.CONFLICT, "Another was quicker.")

    assert refusal(stage, decision(stage, alongside=alongside)).reason is Reason.CONFLICT
    assert stage.signer.signed == []
    assert stage.unfinished() == []


def test_a_failed_first_commit_signs_nothing(stage: Stage) -> None:
    """Case 42."""
    event.listen(stage.database._writer, "commit", _full, once=True)
    assert refusal(stage).reason is Reason.UNAVAILABLE
    assert stage.signer.signed == []
    assert stage.unfinished() == []


def test_a_failed_last_commit_withholds_what_was_signed_and_recovery_finishes_it(stage: Stage) -> None:
    """Case 2: the certificate was signed, so its row stays, never good until it stands."""

    def sign(key: object, messages: object) -> object:
        event.listen(stage.database._writer, "commit", _full, once=True)
        stage.signer.instead = None
        return stage.signer.sign(key, messages)  # type: ignore[arg-type]

    stage.signer.instead = sign  # type: ignore[assignment]
    assert refusal(stage).reason is Reason.UNAVAILABLE
    [left] = stage.unfinished()
    assert stage.signer.signed == [left.to_be_signed.tbs]
    assert stage.status(left) == Intended(left.created_at)
    [finished] = run(issuance.recover(stage.authority))
    assert finished.intent == left
    assert stage.status(left) == Good()
    assert stage.signer.signed == [left.to_be_signed.tbs] * 2, "the same bytes once more, no second certificate"


def _full(_connection: object) -> None:
    raise OSError("disk full")


def test_a_crash_between_intent_and_record_is_finished_at_the_next_start(ready: Stage) -> None:
    """Case 1: and the answer that never left is there for who asks again."""
    token, key = ready.token(), new_key()
    ready.signer.instead = failing()
    with pytest.raises(Refused):
        ready.enrol(token, key)
    ready.signer.instead = None
    [finished] = run(issuance.recover(ready.authority))
    x509.load_der_x509_certificate(finished.der).verify_directly_issued_by(ready.issuer.certificate)
    assert ready.enrol(token, key).der == finished.der
    assert run(issuance.recover(ready.authority)) == [], "once"
    assert len(ready.issued()) == 1


def test_a_row_that_another_hand_wrote_is_never_signed(ready: Stage) -> None:
    """The bytes of one intent in the row of another: recovery marks it, says so once, and goes on with the rest."""
    ready.signer.instead = failing()
    for _ in range(2):
        with pytest.raises(Refused):
            ready.enrol(ready.token())
    ready.signer.instead = None
    good, bad = ready.unfinished()

    def swap(connection: Connection) -> None:
        rows = update(certificates).where(certificates.c.serial == bad.serial.octets)
        connection.execute(rows.values(tbs=good.to_be_signed.tbs))

    ready.database.write(swap).result()
    ready.signer.signed.clear()
    [finished] = run(issuance.recover(ready.authority))
    assert finished.intent == good
    assert run(issuance.recover(ready.authority)) == []
    assert ready.signer.signed == [good.to_be_signed.tbs]
    assert ready.state(bad) is State.SUSPECT
    assert isinstance(ready.status(bad), Intended)
    assert len(ready.audited("certificate.suspect")) == 1


def test_a_row_that_counts_it_under_another_list_is_never_signed(ready: Stage) -> None:
    """Its revocation would be in a list that no relying party asks for."""
    ready.signer.instead = failing()
    with pytest.raises(Refused):
        ready.enrol(ready.token())
    ready.signer.instead = None
    [left] = ready.unfinished()
    ready.database.write(lambda connection: connection.execute(update(certificates).values(crl_shard=9))).result()
    assert run(issuance.recover(ready.authority)) == []
    assert ready.signer.signed == []
    assert ready.state(left) is State.SUSPECT


def test_recovery_without_a_signer_leaves_all_as_it_was(ready: Stage) -> None:
    ready.signer.instead = failing()
    with pytest.raises(Refused):
        ready.enrol(ready.token())
    with pytest.raises(Refused):
        run(issuance.recover(ready.authority))
    assert len(ready.unfinished()) == 1


def test_a_crash_in_the_first_transaction_leaves_the_token_whole(ready: Stage) -> None:
    token, key = ready.token(), new_key()
    event.listen(ready.database._writer, "commit", _full, once=True)
    with pytest.raises(Refused):
        run(desk.apply(ready.authority, Application(ByToken(token), request(key), Asked())))
    with ready.database.read() as connection:
        [kept] = tokens.find(connection, [token]).values()
    assert kept.spent_on is None
    assert ready.enrol(token, key)


def test_intent_and_issue_are_audited(ready: Stage) -> None:
    issued = ready.enrolled()
    [intended] = [one for one in ready.audited("certificate.intend") if one.serial == str(issued.intent.serial)]
    [done] = [one for one in ready.audited("certificate.issue") if one.serial == str(issued.intent.serial)]
    assert (intended.tenant, intended.agent, intended.task) == (TENANT, AGENT, "invoices")
    assert intended.actor == "spiffe://agents.example/agent/acme/bot"
    assert done.detail["x5t#S256"] == issued.x5t.base64url


@pytest.mark.parametrize("back", [6, 3600])
def test_a_clock_that_went_back_stops_issuance(ready: Stage, back: int) -> None:
    """Case 39: before anything is spent; the same request is granted when the clock is right."""
    token, key = ready.token(), new_key()
    ready.enrolled()
    ready.clock.forward(seconds=-back)
    with pytest.raises(Refused, match="clock is behind") as caught:
        ready.enrol(token, key)
    assert caught.value.reason is Reason.UNAVAILABLE
    assert len(ready.signer.signed) == 1
    ready.clock.forward(seconds=back)
    assert ready.enrol(token, key)


def test_a_correction_of_some_seconds_stops_nothing(ready: Stage) -> None:
    ready.enrolled()
    ready.clock.forward(seconds=-5)
    assert ready.enrolled()


def test_what_a_wrong_clock_dated_ahead_is_revoked_and_issuance_goes_on(ready: Stage) -> None:
    """Case 39: a jump of a day and back again."""
    token, key = ready.token(), new_key()
    ready.clock.forward(days=1)
    ready.task("later", deadline=ready.clock() + timedelta(hours=1))
    ahead = ready.enrolled(task="later")
    ready.clock.forward(days=-1)
    with pytest.raises(Refused, match="clock is behind"):
        ready.enrol(token, key)
    ready.revoke(ahead)
    assert ready.enrol(token, key)
