"""SIGKILL at every step of an issuance, many times over, with the signer's own log as the judge (cases 1, 2, 12)."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import text

from ca import assembly
from ca.identifiers import AgentId, Serial, TenantId
from ca.pki.profile import Kind
from ca.policy.ceiling import Agent, AgentState
from ca.policy.scope import Scope
from ca.proofs import token
from ca.store import agents, audit, certificates, revocations, tokens
from ca.store.agents import AgentRecord
from ca.store.certificates import CertificateRecord
from ca.store.filters import Filter, narrowed
from ca.store.status import Good, Revoked, StatusReader
from ca.store.tokens import TokenRecord
from ca.store.transaction import Connection, Database
from tests.faults.mortal import POINTS
from tests.faults.shim import Fault, Shim
from tests.world import CHECKOUT, World

TENANT, AGENT = TenantId("default"), AgentId("mortal")
AT_ONCE = 6
KILLED = int(signal.SIGKILL)


@dataclass
class Theatre:
    """A ceremony's home, the mortal process over it, and what was asked and answered so far."""

    world: World
    shim: Shim
    url: str
    directory: Path
    process: subprocess.Popen[str]
    asked: dict[int, str]
    signed_before: int

    def live(self, point: str, nth: int, *, new: int) -> int:
        """One life: what is unanswered is asked again, with some new requests beside it. The signal it died of."""
        self._make_tokens(new)
        unanswered = [number for number in self.asked if number not in self.answered()]
        enrolments = [{"number": number, "token": self.asked[number]} for number in unanswered[:AT_ONCE]]
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"point": point, "nth": nth, "enrolments": enrolments}) + "\n")
        self.process.stdin.flush()
        died_of = int(self.process.stdout.readline())
        self.shim.clear()
        assert died_of in (0, KILLED), self.world.log()
        return died_of

    def answered(self) -> dict[int, dict[str, Any]]:
        """By number, the last answer; a refusal is none."""
        return {entry["number"]: entry for entry in self._entries("answers") if "refused" not in entry}

    def signed(self) -> set[bytes]:
        """Digests of everything that the keys signed in these lives, but for the proofs of themselves."""
        proofs = {sha256(bytes.fromhex(entry["message"])).digest() for entry in self._entries("proofs")}
        return {one.data for one in self.shim.signed()[self.signed_before :]} - proofs

    def _entries(self, name: str) -> list[dict[str, Any]]:
        file = self.directory / name
        return [json.loads(each) for each in file.read_text().splitlines()] if file.exists() else []

    def _make_tokens(self, count: int) -> None:
        made = [token.mint(os.urandom(32)) for _ in range(count)]
        first = len(self.asked)
        self.asked.update({first + i: text for i, text in enumerate(made)})
        now = assembly.clock()

        def act(connection: Connection) -> None:
            for one in made:
                until = now + timedelta(hours=3)
                tokens.add(connection, TokenRecord(token.hash_of(one), TENANT, AGENT, None, None, "test", now, until))

        database = Database(self.url)
        database.write(act).result()
        database.close()


@pytest.fixture
def theatre(tmp_path: Path, database_url: str) -> Iterator[Theatre]:
    shim = Shim(tmp_path)
    world = World(tmp_path, REMIT_DATABASE_URL=database_url, **shim.environment).init()
    database = Database(database_url)
    record = AgentRecord(Agent(TENANT, AGENT, AgentState.ACTIVE, Scope(), None, 0), "", assembly.clock())
    database.write(lambda connection: agents.add(connection, record)).result()
    database.close()
    with (tmp_path / "service.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.mortal", str(tmp_path)],
            env=world.environment,
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    yield Theatre(world, shim, database_url, tmp_path, process, {}, len(shim.signed()))
    process.stdin.close()  # type: ignore[union-attr] # it is a pipe
    process.wait(30)
    process.stdout.close()  # type: ignore[union-attr] # likewise


def rounds(theatre: Theatre, count: int, seed: int) -> Counter[str]:
    """Lives that end at each point in turn; how many met their end there."""
    chance = random.Random(seed)
    points = [point for point in POINTS if point != "never"]
    met: Counter[str] = Counter()
    for number in range(count):
        point = points[number % len(points)]
        if point == "in the token":
            theatre.shim.fail(chance.choice([Fault.KILL_BEFORE, Fault.KILL_AFTER]), times=1, skip=chance.randrange(8))
        new = AT_ONCE - (len(theatre.asked) - len(theatre.answered()))
        nth = 1 if number < len(points) else chance.choice([1, 1, 2, 3])
        if theatre.live(point, nth, new=max(new, 0)) == KILLED:
            met[point] += 1
    return met


def prove(theatre: Theatre) -> None:
    """Everything that must hold after any number of deaths."""
    for _ in range(len(theatre.asked)):
        if theatre.asked.keys() == theatre.answered().keys():
            break
        assert theatre.live("never", 1, new=0) == 0
    assert theatre.asked.keys() == theatre.answered().keys()
    database = Database(theatre.url)
    try:
        with database.read() as connection:
            records = certificates.page(connection, Filter(kind=Kind.AGENT), assembly.clock(), limit=1_000_000)
            assert certificates.unfinished(connection) == []
            entries = audit.everything(connection)
            serials = connection.execute(text("SELECT count(*), count(DISTINCT serial) FROM certificates")).one()
        _every_signature_has_its_row(theatre, database)
        _what_was_answered_stands(theatre, records)
        _one_certificate_for_each_token(theatre, database, records)
        assert serials[0] == serials[1]
        for action in ("certificate.intend", "certificate.issue"):
            told = Counter(entry.serial for entry in entries if entry.action == action and entry.agent == AGENT)
            assert told == Counter({str(record.intent.serial): 1 for record in records}), action
        _all_can_be_revoked(theatre, database, records)
    finally:
        database.close()


def _every_signature_has_its_row(theatre: Theatre, database: Database) -> None:
    """Of all that the keys signed, the very bytes are in the database."""
    with database.read() as connection:
        rows = {sha256(row.tbs).digest() for row in connection.execute(text("SELECT tbs FROM certificates"))}
    signed = theatre.signed()
    assert len(signed) >= len(theatre.asked)
    assert signed - rows == set()


def _what_was_answered_stands(theatre: Theatre, records: list[CertificateRecord]) -> None:
    stored = {str(record.intent.serial): record for record in records}
    for answer in theatre.answered().values():
        assert stored[answer["serial"]].der.hex() == answer["der"]
        x509.load_der_x509_certificate(bytes.fromhex(answer["der"]))


def _one_certificate_for_each_token(theatre: Theatre, database: Database, records: list[CertificateRecord]) -> None:
    hashes = {number: token.hash_of(each) for number, each in theatre.asked.items()}
    with database.read() as connection:
        found = tokens.find(connection, hashes.values())
    spent_on = {number: found[each].spent_on for number, each in hashes.items()}
    assert {number: Serial.parse(answer["serial"]) for number, answer in theatre.answered().items()} == spent_on
    assert len(records) == len(theatre.asked)


def _all_can_be_revoked(theatre: Theatre, database: Database, records: list[CertificateRecord]) -> None:
    reader = StatusReader(theatre.url)
    intents = [record.intent for record in records]
    serials = [intent.serial for intent in intents]
    assert set(map(type, reader.statuses(intents[0].issuer, serials).values())) == {Good}

    def act(connection: Connection) -> int:
        reason = x509.ReasonFlags.superseded
        begun = revocations.begin(connection, intents[0].issuer, assembly.clock(), reason)
        revocations.revoke(connection, begun, narrowed(Filter(kind=Kind.AGENT), begun.at))
        return revocations.count(connection, revocations.done_by(begun))

    assert database.write(act).result() == len(records)
    assert set(map(type, reader.statuses(intents[0].issuer, serials).values())) == {Revoked}
    reader.close()


@pytest.mark.slow
def test_a_life_for_each_point(theatre: Theatre) -> None:
    met = rounds(theatre, 3 * (len(POINTS) - 1), seed=1)
    assert set(met) == set(POINTS) - {"never"}, "each point was met at least once"
    prove(theatre)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 4))
def test_hundreds_of_lives(theatre: Theatre, seed: int) -> None:
    met = rounds(theatre, 250, seed)
    assert met.total() > 150
    prove(theatre)
