"""The database as the service sees it: each change seen, no failure fatal, one query for many."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448

from ca.hsm import KeyKind, TokenFault
from ca.identifiers import Serial
from ca.pki.keys import PublicKey
from ca.refusals import Reason, Refused
from ca.store.status import CertificateStatus, Good, Unknown
from ocsp.request import parse
from ocsp.view import View
from tests.ocsp.house import GOOD, NEVER_ISSUED, House, question, run


@pytest.fixture
def house() -> House:
    return House()


def test_nothing_is_known_before_the_first_look(house: House) -> None:
    view = View(house.shelf, house.bell, house.signer.adopt, house.clock)
    assert (view.directory, view.generation) == (None, 0)
    assert view.fault is not None


def test_a_look_without_a_change_is_of_the_same_generation(house: House) -> None:
    before, directory = house.view.generation, house.view.directory
    house.look()
    assert (house.view.generation, house.view.directory) == (before, directory)


def test_a_commit_begins_a_generation(house: House) -> None:
    before = house.view.generation
    house.shelf.commit()
    house.look()
    assert house.view.generation == before + 1


def test_issuers_are_known_by_every_hash_of_a_certid(house: House) -> None:
    directory = house.view.directory
    assert directory is not None
    for issuer, name in ((house.issuing, "issuing-1"), (house.root, "root-1")):
        [asked] = parse(question(issuer, GOOD)).certificates
        assert directory.issuers[asked.issuer].id == name
    assert len(directory.issuers) == 8


def test_a_database_that_goes_away_leaves_what_was_known_and_comes_back(house: House) -> None:
    generation, directory = house.view.generation, house.view.directory
    house.shelf.away = True
    house.look()
    assert house.view.fault == "The database cannot be read. Away for the moment (DriverError)."
    assert (house.view.generation, house.view.directory) == (generation, directory)
    with pytest.raises(Refused):
        run(house.view.statuses([("issuing-1", GOOD)]))
    with pytest.raises(Refused):
        run(house.view.fetch(lambda read: read("issuing-1", 0)))
    house.shelf.away = False
    house.look()
    assert house.view.fault is None
    # What happened meanwhile may have gone unseen, so everything is proved again.
    assert house.view.generation == generation + 1


def test_many_questions_are_one_query_for_each_ca(house: House) -> None:
    issued, foreign, unknown = ("issuing-1", GOOD), ("root-1", NEVER_ISSUED), ("issuing-1", NEVER_ISSUED)

    async def ask() -> list[dict[tuple[str, Serial], CertificateStatus]]:
        asked: list[list[tuple[str, Serial]]] = [[issued], [foreign, issued], [unknown], []]
        return await asyncio.gather(*(house.view.statuses(one) for one in asked))

    first, second, third, _ = run(ask())
    assert first[issued] == second[issued] == second[foreign] == Good()
    assert third[unknown] == Unknown()
    assert house.shelf.lookups == [("issuing-1", [GOOD, NEVER_ISSUED]), ("root-1", [NEVER_ISSUED])]


def test_a_responder_that_is_renewed_with_another_key_is_adopted(house: House) -> None:
    key = house.signer.generate("ocsp-2", KeyKind.P384)
    house.shelf.responders_of["issuing-1"] = [house.certify(key)]
    house.shelf.commit()
    house.look()
    assert house.view.directory is not None
    signatory = house.view.directory.signatory("issuing-1", house.now)
    assert signatory is not None
    assert signatory.public_key == key


def test_while_a_new_key_cannot_sign_the_old_one_goes_on_to_its_end(house: House) -> None:
    """Roll-over without a gap: the new certificate is in the database before its key is in this token."""
    old, new = house.shelf.responders_of["issuing-1"][0], house.signer.generate("ocsp-2", KeyKind.P384)
    able: set[str] = {"old"}

    def adopt(_label: str, key: PublicKey) -> None:
        if key == new and "new" not in able:
            raise TokenFault("The new key is missing.")

    view = View(house.shelf, house.bell, adopt, house.clock)
    house.shelf.responders_of["issuing-1"] = [house.certify(new), old]
    run(view.refresh())
    assert _signs(view, house) == house.responder_key
    assert view.directory is not None
    assert view.directory.faults(house.now) == []
    assert view.directory.refused == {"issuing-1": "The new key is missing."}
    able.add("new")
    house.later(seconds=1)
    run(view.refresh())
    assert _signs(view, house) == new
    assert view.directory.refused == {}
    view.close()


def _signs(view: View, house: House) -> PublicKey:
    assert view.directory is not None
    signatory = view.directory.signatory("issuing-1", house.now)
    assert signatory is not None
    return signatory.public_key


def test_a_responder_whose_key_is_not_in_the_token_signs_nothing_and_is_named(house: House) -> None:
    def refuse(label: str, _key: object) -> None:
        raise TokenFault(f"The key {label!r} is missing.")

    view = View(house.shelf, house.bell, refuse, house.clock)
    run(view.refresh())
    assert view.directory is not None
    assert view.directory.signatory("issuing-1", house.now) is None
    assert view.directory.faults(house.now) == ["The key 'OCSP of issuing-1' is missing."]


def test_a_key_is_adopted_once_and_asked_for_again_after_a_refusal(house: House) -> None:
    asked: list[str] = []

    def adopt(label: str, _key: object) -> None:
        asked.append(label)
        if len(asked) == 1:
            raise TokenFault("Away.")

    view = View(house.shelf, house.bell, adopt, house.clock)
    for _ in range(4):
        run(view.refresh())
        house.shelf.commit()
    assert len(asked) == 2


def test_a_responder_s_certificate_that_ended_signs_nothing(house: House) -> None:
    house.shelf.responders_of["issuing-1"] = [house.certify(house.responder_key, timedelta(seconds=100))]
    house.shelf.commit()
    house.look()
    directory = house.view.directory
    assert directory is not None
    house.later(seconds=99)
    assert directory.faults(house.now) == []
    house.later(seconds=1)
    assert directory.faults(house.now) == ["There is no responder certificate in force for issuing-1."]


def test_an_empty_database_says_what_is_missing(house: House) -> None:
    house.shelf.cas.clear()
    house.shelf.commit()
    house.look()
    assert house.view.directory is not None
    assert house.view.directory.faults(house.now) == ["There is no CA in the database; 'remit init' makes one."]


def test_a_responder_of_a_kind_nobody_signs_with_does_not_stop_the_service(house: House) -> None:
    house.shelf.responders_of["issuing-1"] = [house.certify(ed448.Ed448PrivateKey.generate().public_key())]
    house.shelf.commit()
    house.look()
    assert house.view.fault is None
    assert house.view.directory is not None
    [fault] = house.view.directory.faults(house.now)
    assert "responder" not in fault


def test_closing_ends_the_thread_and_the_reader(house: House) -> None:
    house.view.close()
    assert house.shelf.closed
    assert house.bell.closed


# Woken.


def test_a_notice_ends_the_wait_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocsp.view.POLL", 30.0)

    async def ring() -> None:
        changed = asyncio.create_task(house.view.change())
        await asyncio.to_thread(house.bell.heard.wait, 10)
        house.bell.rung.set()
        await asyncio.wait_for(changed, 10)

    run(ring())


def test_without_a_notice_the_poll_ends_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notice can be lost. One thread goes on listening, whatever the number of looks."""
    monkeypatch.setattr("ocsp.view.POLL", 0.01)

    async def wait() -> None:
        for _ in range(3):
            await asyncio.wait_for(house.view.change(), 10)

    run(wait())
    assert house.bell.waits == 1


def test_who_cannot_listen_polls(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocsp.view.POLL", 0.01)
    house.bell.fault = Refused(Reason.UNAVAILABLE, "Away.")

    async def wait() -> None:
        for _ in range(3):
            await asyncio.wait_for(house.view.change(), 10)

    run(wait())
    assert house.bell.waits == 3


# The directory, without a version that tells of it.


def test_the_directory_is_read_again_after_a_second(house: House) -> None:
    before = house.view.generation
    house.shelf.responders_of.clear()
    house.look()
    assert house.view.directory is not None
    assert house.view.directory.faults(house.now) == []
    house.later(seconds=1)
    house.look()
    assert house.view.directory.faults(house.now) != []
    assert house.view.generation == before + 1


def test_the_same_directory_read_again_begins_no_generation(house: House) -> None:
    before, directory = house.view.generation, house.view.directory
    house.later(seconds=5)
    house.look()
    assert house.view.directory is directory
    assert house.view.generation == before
