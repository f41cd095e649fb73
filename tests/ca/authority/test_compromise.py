"""Case 19: keyCompromise is said of a key. It is blocked, and everything certified for it is revoked, at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from ca.authority import infrastructure, revoke
from ca.authority.issuance import Issued
from ca.authority.revoke import REASONS
from ca.identifiers import Thumbprint
from ca.pki import keys
from ca.refusals import Reason, Refused
from ca.store import blocked_keys, certificates
from ca.store.blocked_keys import Blocking
from ca.store.filters import Filter
from ca.store.status import Good, Revoked
from tests.ca.authority.stage import AGENT, TASK, TENANT, Key, Stage, failing, new_key, run

COMPROMISED, SUPERSEDED = REASONS["keyCompromise"], REASONS["superseded"]
MINE = Filter(tenant=TENANT, holder=AGENT)


def digest(key: Key) -> Thumbprint:
    return keys.thumbprint(key.public_key())


def by_key(stage: Stage, key: Key, reason: x509.ReasonFlags = COMPROMISED, *, dry_run: bool = False) -> revoke.Revoked:
    return revoke.revoke_many(stage.authority, Filter(key=digest(key)), reason, "ops", dry_run=dry_run)


def by_serial(stage: Stage, issued: Issued, reason: x509.ReasonFlags = COMPROMISED) -> None:
    revoke.revoke_serial(stage.authority, issued.intent.serial, reason, "ops")


def why_blocked(stage: Stage, key: Key) -> Blocking | None:
    with stage.database.read() as connection:
        return blocked_keys.find(connection, digest(key))


def state(stage: Stage, issued: Issued) -> type:
    return type(stage.status(issued.intent))


def serials(revoked: revoke.Revoked) -> list[str]:
    return [str(record.intent.serial) for record in revoked.certificates]


def names(*issued: Issued) -> list[str]:
    return [str(one.intent.serial) for one in issued]


def test_by_key_every_live_certificate_is_revoked_and_the_key_is_blocked(ready: Stage) -> None:
    key = new_key()
    first, second, other = ready.enrol(ready.token(), key), ready.enrol(ready.token(), key), ready.enrolled()
    revoked = by_key(ready, key)
    assert serials(revoked) == names(first, second)
    assert revoked.blocked_keys == [digest(key)]
    assert [state(ready, one) for one in (first, second, other)] == [Revoked, Revoked, Good]
    assert why_blocked(ready, key) == Blocking(COMPROMISED, ready.clock().replace(microsecond=0), "ops")
    with pytest.raises(Refused) as caught:
        ready.enrol(ready.token(), key)
    assert caught.value.reason is Reason.KEY_REFUSED


def test_by_serial_the_others_of_its_key_are_revoked_too(ready: Stage) -> None:
    key = new_key()
    named, same, other = ready.enrol(ready.token(), key), ready.enrol(ready.token(), key), ready.enrolled()
    by_serial(ready, named)
    assert [state(ready, one) for one in (named, same, other)] == [Revoked, Revoked, Good]
    assert ready.record(same).reason == "keyCompromise"
    assert why_blocked(ready, key)


def test_by_task_the_keys_live_certificates_for_other_tasks_are_revoked_too(ready: Stage) -> None:
    key = new_key()
    ready.task("second")
    named, same, other = ready.enrol(ready.token(), key), ready.enrol(ready.token(task="second"), key), ready.enrolled()
    wanted = Filter(tenant=TENANT, task="second")
    dry = revoke.revoke_many(ready.authority, wanted, COMPROMISED, "ops", dry_run=True)
    done = revoke.revoke_many(ready.authority, wanted, COMPROMISED, "ops", dry_run=False)
    assert serials(done) == serials(dry) == names(named, same)
    assert done.blocked_keys == dry.blocked_keys == [digest(key)]
    assert state(ready, other) is Good


@pytest.mark.parametrize("reason", [reason for reason in REASONS.values() if reason is not COMPROMISED])
def test_for_another_reason_no_key_is_blocked_and_no_other_certificate_touched(
    ready: Stage, reason: x509.ReasonFlags
) -> None:
    key = new_key()
    named, same = ready.enrol(ready.token(), key), ready.enrol(ready.token(), key)
    by_serial(ready, named, reason)
    assert [state(ready, one) for one in (named, same)] == [Revoked, Good]
    assert by_key(ready, key, reason).blocked_keys == []
    assert state(ready, same) is Revoked
    assert why_blocked(ready, key) is None
    assert ready.enrol(ready.token(), key)


def test_one_revoked_before_keeps_its_date_and_reason_and_its_key_is_blocked(ready: Stage) -> None:
    key = new_key()
    issued = ready.enrol(ready.token(), key)
    by_serial(ready, issued, SUPERSEDED)
    before = ready.record(issued)
    ready.clock.forward(minutes=1)
    by_serial(ready, issued)
    assert ready.record(issued) == before
    assert why_blocked(ready, key)


def test_again_changes_nothing_and_says_so(ready: Stage) -> None:
    key = new_key()
    issued = ready.enrol(ready.token(), key)
    by_key(ready, key)
    before, blocked = ready.record(issued), why_blocked(ready, key)
    audited = len(ready.audited("certificate.revoke")), len(ready.audited("key.block"))
    ready.clock.forward(minutes=1)
    again = by_key(ready, key)
    by_serial(ready, issued)
    assert (again.certificates, again.blocked_keys) == ([], [])
    assert (ready.record(issued), why_blocked(ready, key)) == (before, blocked)
    assert (len(ready.audited("certificate.revoke")), len(ready.audited("key.block"))) == audited == (1, 1)


def test_a_dry_run_says_the_same_and_does_nothing(ready: Stage) -> None:
    key = new_key()
    issued = [ready.enrol(ready.token(), key) for _ in range(2)]
    dry = by_key(ready, key, dry_run=True)
    assert why_blocked(ready, key) is None
    assert {state(ready, one) for one in issued} == {Good}
    assert ready.audited("key.block") == []
    done = by_key(ready, key)
    assert (serials(dry), dry.blocked_keys) == (serials(done), done.blocked_keys) == (names(*issued), [digest(key)])
    assert dry.dry_run
    assert by_key(ready, key, dry_run=True).blocked_keys == []


def test_both_are_audited(ready: Stage) -> None:
    key = new_key()
    issued = ready.enrol(ready.token(), key)
    by_key(ready, key)
    [revoked], [blocked] = ready.audited("certificate.revoke"), ready.audited("key.block")
    assert (revoked.actor, revoked.agent, revoked.serial) == ("ops", AGENT, str(issued.intent.serial))
    assert (blocked.actor, blocked.decision) == ("ops", "granted")
    assert blocked.detail == {"key_sha256": digest(key).hex, "reason": "keyCompromise"}


def test_a_key_that_was_never_certified_is_blocked_too(ready: Stage) -> None:
    """Found in a repository before anybody used it here."""
    key = new_key()
    assert by_key(ready, key).certificates == []
    assert why_blocked(ready, key)


def test_what_was_asked_for_and_not_signed_yet_is_revoked_too(ready: Stage) -> None:
    token, key = ready.token(), new_key()
    ready.signer.instead = failing()
    with pytest.raises(Refused):
        ready.enrol(token, key)
    ready.signer.instead = None
    [intent] = ready.unfinished()
    assert [record.intent.serial for record in by_key(ready, key).certificates] == [intent.serial]
    with pytest.raises(Refused):
        ready.enrol(token, key)


def test_a_repeated_request_for_a_blocked_key_gets_nothing(ready: Stage) -> None:
    token, key = ready.token(), new_key()
    ready.enrol(token, key)
    by_key(ready, key)
    with pytest.raises(Refused) as caught:
        ready.enrol(token, key)
    assert caught.value.reason is Reason.TOKEN_INVALID


@pytest.mark.parametrize("whose", ["root", "issuing", "responder"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_the_authoritys_own_key_is_not_blocked_by_a_call(ready: Stage, whose: str, dry_run: bool) -> None:
    responder = ready.signer.generate("ocsp-1")
    run(infrastructure.ensure_responder(ready.authority, responder))
    own = {"root": ready.root.public_key, "issuing": ready.issuer.public_key, "responder": responder}[whose]
    with pytest.raises(Refused, match="the authority itself") as caught:
        revoke.revoke_many(ready.authority, Filter(key=keys.thumbprint(own)), COMPROMISED, "ops", dry_run=dry_run)
    assert caught.value.reason is Reason.CONFLICT
    with ready.database.read() as connection:
        assert blocked_keys.blocked(connection, [keys.thumbprint(own)]) == set()


def test_revocations_and_the_block_are_one_transaction(ready: Stage) -> None:
    key = new_key()
    issued = ready.enrol(ready.token(), key)
    event.listen(ready.database._writer, "commit", _full, once=True)
    with pytest.raises(Refused) as caught:
        by_key(ready, key)
    assert caught.value.reason is Reason.UNAVAILABLE
    assert state(ready, issued) is Good
    assert why_blocked(ready, key) is None


def _full(_connection: object) -> None:
    raise OSError("disk full")


@given(data=st.data())
@settings(max_examples=15)
def test_however_it_was_named_no_certificate_of_a_blocked_key_is_live(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever was certified and revoked before, in whatever order: a blocked key has no live certificate."""
    stage = Stage(tmp_path_factory.mktemp("compromise"))
    try:
        stage.agent()
        stage.task()
        owned = [new_key() for _ in range(3)]
        issued = [
            stage.enrol(stage.token(), owned[n]) for n in data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=6))
        ]
        for step in data.draw(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=4)):
            by_serial(stage, issued[step[0] % len(issued)], COMPROMISED if step[1] else SUPERSEDED)
        with stage.database.read() as connection:
            blocked = blocked_keys.blocked(connection, [digest(key) for key in owned])
            live = certificates.page(connection, replace(MINE, task=TASK, state="live"), stage.clock(), limit=99)
        assert not blocked & {record.intent.key for record in live}
    finally:
        stage.close()
