"""What the lists must say, by SQL of its own over the tables and by the list that each of them replaced."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
from cryptography import x509

FULL = 0
DELTA = -1
HOLD = "certificateHold"

_LISTS = "SELECT issuer, shard, number, this_update, der FROM crls"
_REVOKED = """
    SELECT c.issuer, c.crl_shard, c.not_after, c.serial, r.revoked_at, r.reason
    FROM revocations r JOIN certificates c ON c.issuer = r.issuer AND c.serial = r.serial
"""
_NAMED = "SELECT DISTINCT issuer, crl_shard FROM certificates WHERE crl_shard >= 0"

Entry = tuple[int, str]
"""When, in seconds since 1970, and why."""


@dataclass(frozen=True)
class List:
    """One published list as a client reads it. `base` is the number of the full list that a delta stands upon."""

    issuer: str
    shard: int
    number: int
    this_update: int
    base: int | None
    entries: Mapping[int, Entry]


@dataclass(frozen=True)
class Row:
    """One revocation as the database has it."""

    issuer: str
    shard: int | None
    not_after: int
    entry: Entry


class Oracle:
    """`look` checks whatever was published since it last looked."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._in_force: dict[tuple[str, int], List] = {}
        self._numbers: dict[tuple[str, int], List] = {}
        self.came, self.left = 0, 0

    def look(self) -> None:
        """Raises AssertionError when a list is not what it must be."""
        revoked = {
            int.from_bytes(serial): Row(issuer, shard, not_after, (at, reason))
            for issuer, shard, not_after, serial, at, reason in self._rows(_REVOKED)
        }
        for issuer, shard, number, this_update, der in self._rows(_LISTS):
            before = self._in_force.get((issuer, shard))
            if before is None or before.number != number:
                self._check(_parsed(issuer, shard, der), before, revoked)
                assert self._in_force[issuer, shard].number == number
                assert self._in_force[issuer, shard].this_update == this_update

    def missing(self) -> set[tuple[str, int]]:
        """Lists that certificates name and nobody published."""
        return {(issuer, shard) for issuer, shard in self._rows(_NAMED)} - self._in_force.keys()

    def listed(self) -> int:
        """Entries in all complete lists in force."""
        return sum(len(one.entries) for (_, shard), one in self._in_force.items() if shard != DELTA)

    def _check(self, new: List, before: List | None, revoked: Mapping[int, Row]) -> None:
        scope = {serial: row for serial, row in revoked.items() if _is_within(row, new)}
        said = self._standing(new)
        strangers = said.items() - {serial: row.entry for serial, row in scope.items()}.items()
        assert not strangers, "listed, but not so revoked"
        due = {serial for serial, row in scope.items() if row.not_after >= new.this_update}
        assert due <= said.keys(), "revoked and not expired, but not listed"
        if before is not None:
            assert new.number > before.number, "case 16: numbers rise"
            assert new.this_update >= before.this_update, "case 16: thisUpdate never goes back"
        if new.shard != DELTA:
            # A delta has the number of the full list beside it (RFC 5280 5.2.3).
            assert (new.issuer, new.number) not in self._numbers, "case 16: one number, two lists"
            self._numbers[new.issuer, new.number] = new
            self._compare(new, before, revoked)
        self._in_force[new.issuer, new.shard] = new

    def _compare(self, new: List, before: List | None, revoked: Mapping[int, Row]) -> None:
        """Case 15: an entry leaves after its certificate's end and one list beyond, or when its hold is released."""
        old = {} if before is None else before.entries
        gone = old.keys() - new.entries.keys()
        for serial in gone:
            if serial in revoked:
                assert before is not None
                assert before.this_update > revoked[serial].not_after, "left too soon"
            else:
                assert old[serial][1] == HOLD, "left without a release"
        self.came += len(new.entries.keys() - old.keys())
        self.left += len(gone)

    def _standing(self, new: List) -> dict[int, Entry]:
        """What is revoked by this list: of a delta, together with the list that it stands upon (RFC 5280 5.2.4)."""
        if new.base is None:
            return dict(new.entries)
        both = {**self._numbers[new.issuer, new.base].entries, **new.entries}
        return {serial: entry for serial, entry in both.items() if entry[1] != "removeFromCRL"}

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        if self._url.startswith("sqlite"):
            with closing(sqlite3.connect(self._url.removeprefix("sqlite:///"))) as file:
                return file.execute(query).fetchall()
        with psycopg.connect(self._url.replace("+psycopg", "")) as connection:
            return connection.execute(query.encode()).fetchall()


def _is_within(row: Row, one: List) -> bool:
    return row.issuer == one.issuer and (one.shard in (FULL, DELTA) or row.shard == one.shard)


def _parsed(issuer: str, shard: int, der: bytes) -> List:
    crl = x509.load_der_x509_crl(der)
    extensions = {type(each.value): each.value for each in crl.extensions}
    indicator = extensions.get(x509.DeltaCRLIndicator)
    entries = {one.serial_number: (int(one.revocation_date_utc.timestamp()), _reason(one)) for one in crl}
    assert len(entries) == len(list(crl)), "a serial twice"
    return List(
        issuer=issuer,
        shard=shard,
        number=extensions[x509.CRLNumber].crl_number,
        this_update=int(crl.last_update_utc.timestamp()),
        base=None if indicator is None else indicator.crl_number,
        entries=entries,
    )


def _reason(entry: x509.RevokedCertificate) -> str:
    for extension in entry.extensions:
        if isinstance(extension.value, x509.CRLReason):
            return extension.value.reason.value
    return "unspecified"
