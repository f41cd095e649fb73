from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from ca.identifiers import Serial, Thumbprint
from ca.pki.profile import Kind
from ca.refusals import Reason, Refused
from ca.store import certificates, filters, issuers
from ca.store.certificates import Intent, Result, Standing, State
from ca.store.filters import Filter
from ca.store.transaction import Connection, Database
from tests.ca.store.rows import ISSUER, NOW, SIGNATURE, TENANT, der, hold, intent, issue, issuer, revoke, written, x5t

END = intent(1).not_after
OTHER_KEY = Thumbprint.of(b"other")


def numbers(records: Sequence[Standing]) -> list[int]:
    return [record.intent.serial.octets[-1] for record in records]


def test_an_issued_certificate_comes_back_as_it_was(database: Database) -> None:
    full = intent(1, parent=intent(9).serial)
    least = intent(2, tenant=None, task=None, kind=Kind.SERVER)
    issue(database, full, least)
    for one in (full, least):
        with database.read() as connection:
            found = certificates.by_serial(connection, one.serial)
            by_thumbprint = certificates.by_thumbprint(connection, x5t(one))
        assert found is not None
        assert (found.intent, found.der, found.x5t) == (one, der(), x5t(one))
        assert (found.revoked_at, found.reason) == (None, None)
        assert by_thumbprint == found


def test_an_intent_is_not_yet_a_certificate(database: Database) -> None:
    one = intent(1)
    written(database, lambda connection: certificates.intend(connection, [one]))
    with database.read() as connection:
        assert certificates.by_serial(connection, one.serial) is None
        assert certificates.page(connection, Filter(), NOW, limit=9) == []
        assert certificates.unfinished(connection) == [one]


def test_a_finished_intent_is_not_unfinished(database: Database) -> None:
    one, two, three = intent(1), intent(2), intent(3)
    issue(database, two)
    for each in (three, one):
        written(database, lambda connection, each=each: certificates.intend(connection, [each]))
    with database.read() as connection:
        assert certificates.unfinished(connection) == [three, one], "in the order in which they were meant"


def test_a_result_completes_its_own_intent_alone(database: Database) -> None:
    """Two issuers may draw one serial; they are two certificates."""
    written(database, lambda connection: issuers.add(connection, issuer("root-1", Kind.ROOT)))
    ours, theirs = intent(1), intent(1, issuer="root-1")

    def act(connection: Connection) -> None:
        certificates.intend(connection, [ours, theirs])
        certificates.record(connection, [Result(ours, SIGNATURE, x5t(ours))])

    written(database, act)
    with database.read() as connection:
        assert certificates.unfinished(connection) == [theirs]


def test_of_a_batch_what_another_finished_keeps_what_it_has(database: Database) -> None:
    first, second = intent(1), intent(2)
    written(database, lambda connection: certificates.intend(connection, [first, second]))
    theirs, ours = Result(first, b"theirs", Thumbprint.of(b"theirs")), Result(first, b"ours", Thumbprint.of(b"ours"))
    assert written(database, lambda connection: certificates.record(connection, [theirs])) == {first.serial}
    both = [ours, Result(second, SIGNATURE, x5t(second))]
    assert written(database, lambda connection: certificates.record(connection, both)) == {second.serial}
    with database.read() as connection:
        kept = certificates.by_serial(connection, first.serial)
    assert kept is not None
    assert kept.x5t == theirs.x5t


def test_a_suspect_is_unfinished_until_it_is_signed_rightly(database: Database) -> None:
    """Case 7: marked, never good, and finished by the right signature alone."""
    one = intent(1)
    written(database, lambda connection: certificates.intend(connection, [one]))
    written(database, lambda connection: certificates.suspect(connection, [one]))
    with database.read() as connection:
        assert certificates.unfinished(connection) == [one]
        assert certificates.page(connection, Filter(), NOW, limit=9) == []
    written(database, lambda connection: certificates.record(connection, [Result(one, SIGNATURE, x5t(one))]))
    written(database, lambda connection: certificates.suspect(connection, [one]))
    with database.read() as connection:
        assert certificates.unfinished(connection) == []


@pytest.mark.parametrize("finished", [True, False])
def test_a_serial_is_never_used_twice(database: Database, finished: bool) -> None:
    """Case 5: refused before anything could be signed."""
    if finished:
        issue(database, intent(1))
    else:
        written(database, lambda connection: certificates.intend(connection, [intent(1)]))
    again = intent(1, holder="another")
    with pytest.raises(Refused) as caught:
        written(database, lambda connection: certificates.intend(connection, [again]))
    assert caught.value.reason is Reason.CONFLICT


def test_an_intent_of_no_issuer_of_ours_is_refused(database: Database) -> None:
    with pytest.raises(Refused) as caught:
        written(database, lambda connection: certificates.intend(connection, [intent(1, issuer="nobody")]))
    assert caught.value.reason is Reason.CONFLICT


@pytest.mark.parametrize(
    ("now", "done", "state"),
    [
        (NOW, None, "live"),
        (END, None, "live"),
        (END + timedelta(milliseconds=999), None, "live"),
        (END + timedelta(seconds=1), None, "expired"),
        (NOW, revoke, "revoked"),
        (END + timedelta(seconds=1), revoke, "revoked"),
        (NOW, hold, "held"),
        (END + timedelta(seconds=1), hold, "held"),
    ],
)
def test_states(database: Database, now: datetime, done: Callable[..., int] | None, state: str) -> None:
    """The end belongs to the life (RFC 5280 4.1.2.5), and the filter and the record agree."""
    issue(database, intent(1))
    if done is not None:
        done(database, intent(1))
    with database.read() as connection:
        [record] = certificates.page(connection, Filter(), now, limit=9)
        standing = certificates.standing(connection, intent(1).serial)
        found = {
            name: len(certificates.page(connection, Filter(state=name), now, limit=9))
            for name in ("live", "held", "revoked", "expired")
        }
    assert standing is not None
    assert record.state(now) == standing.state(now) == state
    assert found == {name: int(name == state) for name in found}


def test_pages_give_every_certificate_once_newest_first(database: Database) -> None:
    issue(database, *(intent(i) for i in range(1, 8)))
    found, before = [], None
    with database.read() as connection:
        while page := certificates.page(connection, Filter(), NOW, before=before, limit=3):
            found += numbers(page)
            before = page[-1].id
    assert found == [7, 6, 5, 4, 3, 2, 1]


def test_pages_are_narrowed(database: Database) -> None:
    issue(database, intent(1), intent(2, holder="second"), intent(3))
    with database.read() as connection:
        assert numbers(certificates.page(connection, Filter(holder="bot"), NOW, limit=9)) == [3, 1]
        assert numbers(certificates.page(connection, Filter(holder="bot"), NOW, limit=1)) == [3]


def test_some_are_the_oldest_and_all_are_counted_intents_too(database: Database) -> None:
    issue(database, *(intent(number) for number in (4, 2, 3)), intent(5, holder="second"))
    written(database, lambda connection: certificates.intend(connection, [intent(1)]))
    revoke(database, intent(2))
    condition = filters.narrowed(Filter(holder="bot"), NOW)
    with database.read() as connection:
        found = certificates.some(connection, condition, 9)
        assert numbers(found) == [4, 2, 3, 1]
        assert numbers(certificates.some(connection, condition, 2)) == [4, 2]
        assert certificates.count(connection, condition) == 4
        assert certificates.count(connection, filters.narrowed(Filter(holder="nobody"), NOW)) == 0
    assert [one.reached for one in found] == [State.ISSUED] * 3 + [State.INTENDED]
    assert [one.state(NOW) for one in found] == ["live", "revoked", "live", "live"]


def test_what_became_of_a_serial_is_known_before_its_certificate_is(database: Database) -> None:
    written(database, lambda connection: certificates.intend(connection, [intent(1)]))
    revoke(database, intent(1))
    with database.read() as connection:
        assert certificates.standing(connection, intent(1).serial) == Standing(
            intent(1), State.INTENDED, NOW, "superseded"
        )
        assert certificates.standing(connection, intent(2).serial) is None


def test_the_last_one_made_is_the_last_that_is_not_revoked(database: Database) -> None:
    """What was made under a wrong clock is revoked, and then stands in nobody's way."""

    def last() -> datetime | None:
        with database.read() as connection:
            return certificates.last_made(connection)

    def made(number: int) -> Intent:
        return intent(number, created_at=NOW + timedelta(seconds=number))

    assert last() is None
    many = [made(number) for number in range(900)]
    issue(database, *many)
    written(database, lambda connection: certificates.intend(connection, [made(900)]))
    assert last() == NOW + timedelta(seconds=900)
    revoke(database, made(900), *many[2:])
    assert last() == NOW + timedelta(seconds=1)
    hold(database, made(1))
    assert last() == NOW


def test_a_revoked_certificate_says_when_and_why(database: Database) -> None:
    issue(database, intent(1), intent(2))
    revoke(database, intent(1))
    with database.read() as connection:
        revoked = certificates.by_serial(connection, intent(1).serial)
        other = certificates.by_serial(connection, intent(2).serial)
    assert revoked is not None
    assert other is not None
    assert (revoked.revoked_at, revoked.reason) == (NOW, "superseded")
    assert other.revoked_at is None


def test_the_newest_is_the_one_that_lives_longest_now(database: Database) -> None:
    server = replace(intent(0), kind=Kind.SERVER, tenant=None, task=None)

    def lasting(number: int, begins: int, ends: int) -> Intent:
        return replace(
            server,
            serial=intent(number).serial,
            not_before=NOW + timedelta(hours=begins),
            not_after=NOW + timedelta(hours=ends),
        )

    issue(database, lasting(1, -2, 5), lasting(2, -1, 9), lasting(3, -1, 11), lasting(4, 1, 99), lasting(5, -9, -1))
    revoke(database, lasting(3, -1, 11))
    with database.read() as connection:
        newest = certificates.newest(connection, Kind.SERVER, ISSUER, NOW)
        latest = certificates.latest(connection, Kind.SERVER, ISSUER)
        assert certificates.newest(connection, Kind.SERVER, "root-1", NOW) is None
        assert certificates.newest(connection, Kind.RESPONDER, ISSUER, NOW) is None
        assert certificates.newest(connection, Kind.SERVER, ISSUER, NOW + timedelta(hours=9)) is not None
        assert certificates.latest(connection, Kind.RESPONDER, ISSUER) is None
    assert newest is not None
    assert latest is not None
    assert numbers([newest, latest]) == [2, 5]


def test_an_unknown_serial_is_none(database: Database) -> None:
    issue(database, intent(1))
    with database.read() as connection:
        assert certificates.by_serial(connection, Serial(1)) is None
        assert certificates.by_thumbprint(connection, Thumbprint.of(b"?")) is None


def test_live_holders_of_a_key_are_those_of_what_stands_or_may_stand(database: Database) -> None:
    """Two identities must not share a key, so an intent counts too: its certificate may be out already."""
    key = intent(1).key
    expired = intent(3, holder="expired", not_after=NOW - timedelta(seconds=1))
    revoked = intent(4, holder="revoked")
    issue(database, intent(1), intent(2), expired, revoked, intent(5, holder="other-key", key=OTHER_KEY))
    issue(database, intent(6, kind=Kind.OPERATOR, tenant=None, holder="ops"))
    written(database, lambda connection: certificates.intend(connection, [intent(7, holder="intended")]))
    revoke(database, revoked)
    with database.read() as connection:
        holders = certificates.live_holders(connection, [key], NOW)[key]
        assert len(holders) == len(set(holders)) == 3
        assert set(holders) == {
            (Kind.AGENT, TENANT, "bot"),
            (Kind.OPERATOR, None, "ops"),
            (Kind.AGENT, TENANT, "intended"),
        }
        assert certificates.live_holders(connection, [Thumbprint.of(b"?")], NOW) == {}
