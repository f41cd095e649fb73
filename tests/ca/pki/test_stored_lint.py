"""What lay in the database is signed only if it is what its row says; each rule has a mutation that breaks it alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from ca.identifiers import SpiffeId, Thumbprint
from ca.pki.certificate import NO_REV_AVAIL
from ca.pki.lint import Linted
from ca.pki.profile import Kind, Validity
from ca.pki.stored_lint import STORED_RULES, Stored, _Case, lint_stored
from ca.refusals import Reason, Refused
from tests.ca.pki.specimens import NOW, POINTERS, Hierarchy, serial
from tests.ca.pki.test_lint import Case, point, rebuilt, sound

ELSEWHERE = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Elsewhere")])


def row(case: Case, **changes: Any) -> Stored:
    """The row of a sound case."""
    holder = case.contents.holder
    path = SpiffeId(holder.alternative_names[0].value).path
    stored = Stored(case.serial, holder.key_thumbprint, case.contents.validity, path, case.contents.crl or 0, NOW)
    return replace(stored, **changes)


def broken(hierarchy: Hierarchy, case: Case, stored: Stored) -> list[str]:
    parsed = _Case(case.to_be_signed, stored, hierarchy.issuer)
    return [rule.__name__ for rule in STORED_RULES if not rule(parsed)]


ROWS: list[tuple[str, str, dict[str, Any]]] = [
    ("_serial", "another serial", {"serial": serial(9)}),
    ("_key", "another key", {"key": Thumbprint.of(b"another")}),
    ("_validity", "another end", {"validity": Validity(NOW, NOW + timedelta(minutes=3))}),
    ("_validity", "made after its end", {"made_at": NOW + timedelta(days=9)}),
    ("_name", "another name", {"path": "agent/default/another"}),
    ("_list", "another list", {"crl": 2}),
]
CERTIFICATES: list[tuple[str, str, dict[str, Any]]] = [
    ("_issuer", "another issuer", {"issuer": ELSEWHERE}),
    ("_is_no_authority", "a CA", {"extensions": {x509.BasicConstraints: (x509.BasicConstraints(True, None), True)}}),
    ("_is_no_authority", "no constraints", {"without": x509.BasicConstraints}),
    ("_is_no_authority", "no usage", {"without": x509.KeyUsage}),
    ("_list", "no list", {"without": x509.CRLDistributionPoints}),
    ("_list", "another CA's", {"extensions": {x509.CRLDistributionPoints: (point("http://x/crl/j.crl"), False)}}),
    ("_list", "no list at all", {"extensions": {x509.CRLDistributionPoints: (point("http://x/i.crl"), False)}}),
    ("_list", "noRevAvail beside its list", {"added": [(NO_REV_AVAIL, False)]}),
    (
        "_list",
        "as of a responder",
        {"without": x509.CRLDistributionPoints, "added": [(x509.OCSPNoCheck(), False)]},
    ),
    ("_name", "no name", {"without": x509.SubjectAlternativeName}),
    (
        "_name",
        "a name beside it",
        {
            "extensions": {
                x509.SubjectAlternativeName: (
                    x509.SubjectAlternativeName([x509.DNSName("x"), x509.UniformResourceIdentifier("spiffe://a/b")]),
                    False,
                )
            }
        },
    ),
]


def test_what_fits_its_row_may_be_signed(hierarchy: Hierarchy) -> None:
    case = sound(hierarchy)
    assert lint_stored(case.to_be_signed, row(case), hierarchy.issuer) == Linted(case.to_be_signed)


@pytest.mark.parametrize(
    ("rule", "changes"), [(rule, changes) for rule, _, changes in ROWS], ids=[f"{r}: {w}" for r, w, _ in ROWS]
)
def test_another_row_is_refused(hierarchy: Hierarchy, rule: str, changes: dict[str, Any]) -> None:
    case = sound(hierarchy)
    assert broken(hierarchy, case, row(case, **changes)) == [rule]
    with pytest.raises(Refused, match=rule) as caught:
        lint_stored(case.to_be_signed, row(case, **changes), hierarchy.issuer)
    assert caught.value.reason is Reason.LINT_FAILED


@pytest.mark.parametrize(
    ("rule", "changes"),
    [(rule, changes) for rule, _, changes in CERTIFICATES],
    ids=[f"{r}: {w}" for r, w, _ in CERTIFICATES],
)
def test_another_certificate_is_refused(hierarchy: Hierarchy, rule: str, changes: dict[str, Any]) -> None:
    case = sound(hierarchy)
    wrong = rebuilt(case, **changes)
    assert broken(hierarchy, wrong, row(case)) == [rule]


@pytest.mark.parametrize("number", [0, 1, 7])
def test_what_names_the_list_of_its_row_may_be_signed(hierarchy: Hierarchy, number: int) -> None:
    case = sound(hierarchy, crl=number)
    assert lint_stored(case.to_be_signed, row(case), hierarchy.issuer)
    assert broken(hierarchy, case, row(case, crl=number + 1)) == ["_list"]


def test_where_the_status_service_was_on_its_day_does_not_matter(hierarchy: Hierarchy) -> None:
    case = sound(hierarchy, crl=3)
    moved = replace(hierarchy.issuer, pointers=replace(POINTERS, crl="https://other.example/pki/crl/i"))
    assert lint_stored(case.to_be_signed, row(case), moved)


def test_what_names_no_list_is_counted_under_the_full_one(hierarchy: Hierarchy) -> None:
    """RFC 9608: its revocation is in no shard, which nobody was told of."""
    case = sound(hierarchy, crl=None)
    assert lint_stored(case.to_be_signed, row(case), hierarchy.issuer)
    assert broken(hierarchy, case, row(case, crl=1)) == ["_list"]


@pytest.mark.parametrize("number", [0, 1], ids=["now", "before there were several lists"])
def test_a_responder_names_none_whatever_it_is_counted_under(hierarchy: Hierarchy, number: int) -> None:
    case = sound(hierarchy, Kind.RESPONDER)
    stored = replace(row(sound(hierarchy)), key=case.contents.holder.key_thumbprint, path=None, crl=number)
    assert lint_stored(case.to_be_signed, stored, hierarchy.issuer)


def test_an_algorithm_that_is_not_the_issuers_is_refused(hierarchy: Hierarchy) -> None:
    case = sound(hierarchy)
    foreign = replace(hierarchy.issuer, public_key=Ed25519PrivateKey.generate().public_key())
    with pytest.raises(Refused, match="_algorithm"):
        lint_stored(case.to_be_signed, row(case), foreign)


@pytest.mark.parametrize("tbs", [b"", b"\x30\x00", bytes(100)], ids=["none", "empty", "nuls"])
def test_what_does_not_parse_is_refused(hierarchy: Hierarchy, tbs: bytes) -> None:
    case = sound(hierarchy)
    with pytest.raises(Refused):
        lint_stored(replace(case.to_be_signed, tbs=tbs), row(case), hierarchy.issuer)


def test_every_rule_has_a_mutation() -> None:
    told = {rule for rule, _, _ in (*ROWS, *CERTIFICATES)} | {"_algorithm"}
    assert told == {rule.__name__ for rule in STORED_RULES}
