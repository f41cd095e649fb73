"""The second operator: what is more than policy lets one revoke waits for another's word."""

from __future__ import annotations

import threading

import pytest

from ca.authority import propose, revoke
from ca.authority.propose import LIFETIME
from ca.authority.revoke import REASONS, Revoked
from ca.identifiers import AgentId, Serial
from ca.pki import keys
from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import proposals
from ca.store.filters import Filter
from ca.store.proposals import Proposal
from ca.store.status import Good
from ca.store.status import Revoked as Gone
from tests.ca.authority.stage import AGENT, TASK, TENANT, Stage, new_key

COMPROMISED, SUPERSEDED = REASONS["keyCompromise"], REASONS["superseded"]
MINE = Filter(tenant=TENANT, kind=Kind.AGENT, holder=AgentId(AGENT))


@pytest.fixture
def ready(ready: Stage) -> Stage:
    """One operator may revoke two alone; three are there."""
    ready.authority = ready.over(ready.database, alone_up_to=2)
    for _ in range(3):
        ready.enrolled()
    return ready


def ask(stage: Stage, wanted: Filter = MINE, actor: str = "operator/alice") -> Revoked | Proposal:
    return propose.revoke_or_propose(stage.authority, wanted, SUPERSEDED, actor)


def proposed(stage: Stage, wanted: Filter = MINE) -> Proposal:
    made = ask(stage, wanted)
    assert isinstance(made, Proposal)
    return made


def confirmed(stage: Stage, name: str, actor: str = "operator/bob") -> Revoked:
    return propose.confirm(stage.authority, name, actor)[1]


def refusal(stage: Stage, name: str, actor: str = "operator/bob") -> Reason:
    with pytest.raises(Refused) as caught:
        propose.confirm(stage.authority, name, actor)
    return caught.value.reason


def states(stage: Stage) -> set[str]:
    return {record.state(stage.clock()) for record in stage.issued()}


def waiting(stage: Stage) -> list[Proposal]:
    with stage.database.read() as connection:
        return proposals.waiting(connection, stage.clock())


def test_more_than_the_threshold_is_proposed_and_nothing_is_revoked(ready: Stage) -> None:
    made = proposed(ready)
    now = ready.clock().replace(microsecond=0)
    assert (made.wanted, made.reason, made.count) == (MINE, SUPERSEDED, 3)
    assert (made.proposed_by, made.proposed_at, made.expires_at) == ("operator/alice", now, now + LIFETIME)
    assert states(ready) == {"live"}
    assert waiting(ready) == [made]


def test_the_threshold_itself_is_revoked_at_once(ready: Stage) -> None:
    ready.authority = ready.over(ready.database, alone_up_to=3)
    done = ask(ready)
    assert isinstance(done, Revoked)
    assert done.count == 3
    assert states(ready) == {"revoked"}
    assert waiting(ready) == []


def test_without_a_threshold_nothing_is_proposed(ready: Stage) -> None:
    ready.authority = ready.over(ready.database)
    assert isinstance(ask(ready), Revoked)


def test_with_none_allowed_alone_every_live_one_is_proposed_and_nothing_is_nothing(ready: Stage) -> None:
    ready.authority = ready.over(ready.database, alone_up_to=0)
    assert isinstance(ask(ready), Proposal)
    nobody = ask(ready, Filter(tenant=TENANT, holder=AgentId("nobody")))
    assert isinstance(nobody, Revoked)
    assert nobody.count == 0


def test_what_is_revoked_already_does_not_count(ready: Stage) -> None:
    for record in ready.issued()[:1]:
        revoke.revoke_serial(ready.authority, record.intent.serial, SUPERSEDED, "ops")
    assert isinstance(ask(ready), Revoked)


def test_another_operator_confirms_and_it_is_done(ready: Stage) -> None:
    made = proposed(ready)
    reason, done = propose.confirm(ready.authority, made.id, "operator/bob")
    assert reason is SUPERSEDED
    assert (done.count, done.dry_run) == (3, False)
    assert states(ready) == {"revoked"}
    assert waiting(ready) == []


def test_who_proposed_it_does_not_confirm_it(ready: Stage) -> None:
    made = proposed(ready)
    assert refusal(ready, made.id, "operator/alice") is Reason.FORBIDDEN
    assert states(ready) == {"live"}
    assert confirmed(ready, made.id).count == 3


def test_it_is_confirmed_once(ready: Stage) -> None:
    made = proposed(ready)
    confirmed(ready, made.id)
    later = ready.enrolled()
    assert refusal(ready, made.id, "operator/carol") is Reason.CONFLICT
    assert ready.status(later.intent) == Good()


def test_of_two_who_confirm_at_once_one_does(ready: Stage) -> None:
    made, answers = proposed(ready), list[Reason | int]()

    def work(actor: str) -> None:
        try:
            answers.append(confirmed(ready, made.id, actor).count)
        except Refused as refused:
            answers.append(refused.reason)

    threads = [threading.Thread(target=work, args=(f"operator/{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(str, answers)) == sorted(map(str, [3, *[Reason.CONFLICT] * 3]))


def test_it_lapses(ready: Stage) -> None:
    made = proposed(ready)
    ready.clock.now += LIFETIME
    ready.task("later")
    live = ready.enrolled(task="later")
    assert waiting(ready) == []
    assert refusal(ready, made.id) is Reason.CONFLICT
    assert ready.status(live.intent) == Good()


def test_until_its_last_second_it_stands(ready: Stage) -> None:
    made = proposed(ready)
    ready.clock.now = made.expires_at
    ready.clock.forward(microseconds=-1)
    ready.task("later")
    live = ready.enrolled(task="later")
    confirmed(ready, made.id)
    assert isinstance(ready.status(live.intent), Gone)


@pytest.mark.parametrize("name", ["", "nothing", "'", "\u202e"])
def test_an_unknown_one_is_not_found(ready: Stage, name: str) -> None:
    assert refusal(ready, name) is Reason.NOT_FOUND


def test_what_was_enrolled_meanwhile_is_revoked_too(ready: Stage) -> None:
    """The filter is confirmed, not the list: whoever is stopped does not slip through while two people talk."""
    made = proposed(ready)
    late = ready.enrolled()
    assert confirmed(ready, made.id).count == 4
    assert isinstance(ready.status(late.intent), Gone)


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(tenant=TENANT, kind=Kind.AGENT),
        Filter(tenant=TENANT, kind=Kind.AGENT, task=TASK),
        MINE,
    ],
    ids=["tenant", "task", "agent"],
)
def test_what_is_confirmed_is_what_was_proposed(ready: Stage, wanted: Filter) -> None:
    made = proposed(ready, wanted)
    with ready.database.read() as connection:
        assert proposals.find(connection, made.id) == made
    assert confirmed(ready, made.id).count == 3


def test_a_lineage_is_kept_as_it_was_named(ready: Stage) -> None:
    ready.authority = ready.over(ready.database, alone_up_to=-1)
    made = proposed(ready, Filter(descendants_of=Serial(0x1234)))
    with ready.database.read() as connection:
        assert proposals.find(connection, made.id) == made


def test_a_confirmed_compromise_blocks_the_key_and_says_so_of_both(ready: Stage) -> None:
    key = new_key()
    for _ in range(3):
        ready.enrol(ready.token(), key)
    wanted = Filter(key=keys.thumbprint(key.public_key()))
    made = propose.revoke_or_propose(ready.authority, wanted, COMPROMISED, "operator/alice")
    assert isinstance(made, Proposal)
    assert ready.enrol(ready.token(), key), "until it is confirmed it is no word to act on"
    done = confirmed(ready, made.id)
    assert (done.count, done.blocked_keys) == (4, [wanted.key])
    with pytest.raises(Refused):
        ready.enrol(ready.token(), key)
    [blocked] = ready.audited("key.block")
    assert blocked.detail["proposed_by"] == "operator/alice"


@pytest.mark.parametrize("whose", ["root", "issuer"])
def test_the_authoritys_own_keys_are_not_proposed(ready: Stage, whose: str) -> None:
    own = keys.thumbprint(getattr(ready, whose).public_key)
    with pytest.raises(Refused) as caught:
        propose.revoke_or_propose(ready.authority, Filter(key=own), COMPROMISED, "operator/alice")
    assert caught.value.reason is Reason.CONFLICT
    assert waiting(ready) == []


def test_each_step_is_audited_with_both_names(ready: Stage) -> None:
    made = proposed(ready)
    [entry] = ready.audited("revocation.propose")
    assert (entry.actor, entry.decision) == ("operator/alice", "granted")
    assert entry.detail == {"proposal": made.id, "reason": "superseded", "count": 3}
    confirmed(ready, made.id)
    revoked = ready.audited("certificate.revoke")
    assert len(revoked) == 3
    for entry in revoked:
        assert entry.actor == "operator/bob"
        assert entry.detail == {"reason": "superseded", "proposal": made.id, "proposed_by": "operator/alice"}


def test_names_of_proposals_are_not_guessed(ready: Stage) -> None:
    assert len({proposed(ready).id for _ in range(5)}) == 5
    assert {len(one.id) for one in waiting(ready)} == {16}
