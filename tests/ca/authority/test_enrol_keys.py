"""Case 10: the keys of others, and those that nobody is certified for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event

from ca.authority import desk, operators, tokens
from ca.authority.claims import Application, ByToken
from ca.authority.issuance import Denied
from ca.identifiers import OperatorName, Serial, TenantId
from ca.pki import keys
from ca.pki.known_keys import KnownKeys
from ca.pki.profile import Kind
from ca.policy.ceiling import Asked
from ca.proofs import token as proof
from ca.refusals import Reason, Refused
from ca.store import certificates
from ca.store.operators import Role
from tests.ca.authority.stage import AGENT, Stage, new_key, request, run
from tests.ca.pki.known import listed


def test_the_key_of_another_agent_is_refused(ready: Stage) -> None:
    key = new_key()
    ready.enrol(ready.token(), key)
    ready.agent("second")
    ready.task("seconds", agent="second")
    assert ready.refused(ready.token("second", "seconds"), key) is Reason.KEY_REFUSED


def test_the_key_of_another_tenants_agent_of_the_same_name_is_refused(ready: Stage) -> None:
    key = new_key()
    ready.enrol(ready.token(), key)
    ready.agent(tenant="other")
    text, _ = tokens.create(
        ready.authority,
        tenant=TenantId("other"),
        agent=AGENT,
        task=None,
        key=None,
        lifetime=timedelta(minutes=5),
        actor="ops",
    )
    assert ready.refused(proof.hash_of(text), key) is Reason.KEY_REFUSED


def test_the_key_of_an_operator_is_refused(ready: Stage) -> None:
    key = new_key()
    run(operators.add(ready.authority, OperatorName("ops"), Role.ADMIN, request(key), "ceremony"))
    assert ready.refused(ready.token(), key) is Reason.KEY_REFUSED


def test_an_agent_may_keep_its_own_key(ready: Stage) -> None:
    key = new_key()
    assert ready.enrol(ready.token(), key).intent.serial != ready.enrol(ready.token(), key).intent.serial


def test_a_key_is_free_again_when_its_certificates_have_ended(ready: Stage) -> None:
    key = new_key()
    ready.enrol(ready.token(), key)
    ready.clock.forward(minutes=16)
    ready.agent("second")
    ready.task("seconds", agent="second")
    assert ready.enrol(ready.token("second", "seconds"), key)


def test_a_blocked_key_is_refused_and_the_token_stays(ready: Stage) -> None:
    token, key = ready.token(), new_key()
    ready.block(key)
    assert ready.refused(token, key) is Reason.KEY_REFUSED
    assert ready.signer.signed == []
    assert ready.unfinished() == []
    [entry] = ready.audited("certificate.enrol")
    assert (entry.decision, entry.detail) == ("refused", {"reason": "key-refused"})
    assert ready.enrol(token, new_key())


def test_without_a_token_nobody_learns_that_a_key_is_blocked(ready: Stage) -> None:
    key = new_key()
    ready.block(key)
    assert ready.refused(proof.hash_of(proof.mint(bytes(32))), key) is Reason.TOKEN_INVALID


def test_a_blocked_key_and_anothers_are_refused_in_the_same_words(ready: Stage) -> None:
    blocked, anothers = new_key(), new_key()
    ready.block(blocked)
    ready.enrol(ready.token(), anothers)
    ready.agent("second")
    ready.task("seconds", agent="second")
    said = set()
    for key in (blocked, anothers):
        with pytest.raises(Refused) as caught:
            ready.enrol(ready.token("second", "seconds"), key)
        said.add((caught.value.reason, caught.value.detail))
    assert len(said) == 1


@pytest.mark.parametrize("whose", ["root", "issuing", "responder", "server"])
@pytest.mark.parametrize("ended", [False, True], ids=["live", "ended"])
def test_the_authoritys_own_key_is_refused(ready: Stage, whose: str, ended: bool) -> None:
    """Of every CA, of the responder and of the API, also when their certificates have ended."""
    key = new_key()
    kind = Kind(whose)
    begin = ready.clock() - timedelta(days=3)
    end = begin + timedelta(days=1 if ended else 30)
    own = replace(
        ready.enrolled().intent,
        serial=Serial.assign(1, bytes(range(18))),
        kind=kind,
        tenant=None,
        task=None,
        holder="ours",
        key=keys.thumbprint(key.public_key()),
        not_before=begin,
        not_after=end,
        created_at=begin,
    )
    ready.database.write(lambda connection: certificates.intend(connection, [own])).result(10)
    assert ready.refused(ready.token(), key) is Reason.KEY_REFUSED


def test_of_a_batch_the_blocked_keys_are_refused_and_looked_up_at_once(ready: Stage) -> None:
    work = [(ready.token(), new_key()) for _ in range(6)]
    for _, key in work[::2]:
        ready.block(key)
    said: list[str] = []
    event.listen(ready.database._writer, "before_cursor_execute", lambda _c, _u, words, *_: said.append(words))
    batch = [Application(ByToken(token), request(key), Asked()) for token, key in work]
    now = ready.clock().replace(microsecond=0)
    verdicts = ready.database.write(lambda one: desk.decide(ready.authority, one, batch, now)).result(10)
    assert [isinstance(one, Denied) for one in verdicts] == [True, False] * 3
    assert len([words for words in said if "blocked_keys" in words]) == 1


@pytest.mark.parametrize("known", [True, False])
def test_a_key_that_is_publicly_known_is_refused(ready: Stage, known: bool) -> None:
    """Case 31: whatever its kind, by the list that the operator named."""
    key = new_key()
    ready.authority = ready.over(ready.database, known_keys=KnownKeys(listed(*[key.public_key()] * known)))
    if known:
        assert ready.refused(ready.token(), key) is Reason.KEY_REFUSED
        assert ready.signer.signed == []
    else:
        assert ready.enrol(ready.token(), key)
