"""An authority that dies where it is told: `python -m tests.faults.mortal`, one line on standard input a life.

It imports everything once and forks a child for each life, so that hundreds of lives take minutes. A line is
`{"point": ..., "nth": ..., "enrolments": [...]}`; the child recovers as `ca.server` does, enrols them all at once,
and meets SIGKILL at the nth pass of the point. What was answered is appended to `answers` in the directory of the
first argument, and what keys signed to prove themselves to `proofs`. The parent writes one line back: the signal
that ended the life, or 0.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import event

from ca import assembly
from ca.authority import desk, hierarchy, issuance, line
from ca.authority.authority import Authority
from ca.authority.claims import Application, ByToken
from ca.authority.issuance import Issued
from ca.config import Settings
from ca.hsm.keys import SigningKey
from ca.pki import csr
from ca.policy.ceiling import Asked
from ca.proofs import token
from ca.refusals import Refused
from ca.store import certificates
from ca.store.status import Intended, Revoked, StatusReader
from ca.store.transaction import Connection, Database

Strike = Callable[[], None]


def key_of(number: int) -> ec.EllipticCurvePrivateKey:
    """The key that enrolment of this number always brings."""
    return ec.derive_private_key(1_000_003 + number, ec.SECP256R1())


def csr_of(number: int) -> bytes:
    """Its request."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key_of(number), SHA256()).public_bytes(Encoding.DER)


def _strike_at(nth: int) -> Strike:
    passes = 0

    def strike() -> None:
        nonlocal passes
        passes += 1
        if passes == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    return strike


def _before(room: Any, name: str, strike: Strike) -> None:
    original = getattr(room, name)

    def dying(*arguments: Any, **named: Any) -> Any:
        strike()
        return original(*arguments, **named)

    setattr(room, name, dying)


def _after(room: Any, name: str, strike: Strike) -> None:
    original = getattr(room, name)

    def dying(*arguments: Any, **named: Any) -> Any:
        result = original(*arguments, **named)
        strike()
        return result

    setattr(room, name, dying)


def _at_commit(database: Database, strike: Strike) -> None:
    @event.listens_for(database._writer, "commit")
    def _(_connection: Connection) -> None:
        strike()


POINTS: dict[str, Callable[[Database, Strike], None]] = {
    "before the intent": lambda _, strike: _before(issuance, "intend", strike),
    "token spent": lambda _, strike: _after(issuance.tokens, "spend", strike),
    "intent written": lambda _, strike: _after(issuance, "intend", strike),
    "at a commit": _at_commit,
    "after a commit": lambda database, strike: _after(database._writer.dialect, "do_commit", strike),
    "before the signer": lambda _, strike: _before(issuance, "sign", strike),
    "signed, not verified": lambda _, strike: _before(issuance, "_seal", strike),
    "verified": lambda _, strike: _after(issuance, "sign", strike),
    "before the record": lambda _, strike: _before(issuance, "record", strike),
    "record written": lambda _, strike: _after(issuance, "record", strike),
    "before the answer": lambda _, strike: _before(line, "_answer", strike),
    "answered": lambda _, strike: _after(line, "_resolve", strike),
    # In the token itself: the test tells the shim, which strikes before or after the key is used.
    "in the token": lambda *_: None,
    "never": lambda *_: None,
}


async def _live(authority: Authority, enrolments: list[dict[str, Any]], answers: Path) -> None:
    await issuance.recover(authority)
    work = [_enrol(authority, one, answers) for one in enrolments]
    await asyncio.gather(*work)


async def _enrol(authority: Authority, one: dict[str, Any], answers: Path) -> None:
    number = one["number"]
    try:
        request = csr.parse(csr_of(number))
        issued = await desk.apply(authority, Application(ByToken(token.hash_of(one["token"])), request, Asked()))
    except Refused as refusal:
        _append(answers, {"number": number, "refused": refusal.reason.value})
    else:
        _append(answers, {"number": number, **_described(issued)})


def _described(issued: Issued) -> dict[str, Any]:
    return {"serial": str(issued.intent.serial), "der": issued.der.hex()}


def _append(file: Path, entry: dict[str, Any]) -> None:
    with file.open("a") as stream:
        stream.write(json.dumps(entry) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _check_what_a_death_left(settings: Settings, database: Database) -> None:
    """Case 1: what lies between intent and result is revocable, never good and never unknown."""
    with database.read() as connection:
        left = certificates.unfinished(connection)
    reader = StatusReader(settings.database_url)
    for intent in left:
        status = reader.statuses(intent.issuer, [intent.serial])[intent.serial]
        assert isinstance(status, Intended | Revoked), status
    reader.close()


def _note_proofs(file: Path) -> None:
    """What a key signs to prove itself begins unlike anything that an authority signs."""
    original = SigningKey.sign

    def noting(key: SigningKey, message: bytes) -> bytes:
        if not message.startswith(b"\x30"):
            _append(file, {"message": message.hex()})
        return original(key, message)

    SigningKey.sign = noting  # type: ignore[method-assign] # noted on its way


def _life(orders: dict[str, Any], directory: Path) -> None:
    _note_proofs(directory / "proofs")
    settings = Settings.load()
    database = Database(settings.database_url)
    _check_what_a_death_left(settings, database)
    signer = assembly.signer(settings)
    signer.start()
    found = hierarchy.load(database, settings.status_url)
    assert found is not None
    assembly.adopt(signer, *found)
    authority = assembly.authority(settings, database, signer, *found)
    POINTS[orders["point"]](database, _strike_at(orders["nth"]))
    asyncio.run(_live(authority, orders["enrolments"], directory / "answers"))
    authority.close()
    signer.close()
    database.close()


def _child(orders: dict[str, Any], directory: Path) -> int:
    try:
        _life(orders, directory)
    except BaseException as error:  # noqa: BLE001 (whatever it was, the parent must hear that this was no death)
        sys.stderr.write(f"{orders['point']}: {error!r}\n")
        return 1
    return 0


def main() -> None:
    """Lives until standard input ends."""
    directory = Path(sys.argv[1])
    for each in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(_child(json.loads(each), directory))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
