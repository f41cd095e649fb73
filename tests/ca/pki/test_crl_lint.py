"""Each rule about a CRL has mutations that break it; a rule without one fails the last test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ca.identifiers import Serial
from ca.pki import crl, signed
from ca.pki.crl import Scope
from ca.pki.crl_lint import CRL_RULES, Wanted, lint_crl
from ca.pki.lint import Linted
from ca.pki.signed import ToBeSigned
from ca.refusals import Reason, Refused
from tests.ca.pki.specimens import NOW, POINTERS, Hierarchy, serial, uri

NEXT = NOW + timedelta(hours=1)
SHARD, FULL = Scope(distribution_point=POINTERS.list(1)), Scope()
WITH_DELTA, DELTA = Scope(freshest=POINTERS.delta), Scope(base=3)
REVOKED = x509.ReasonFlags.superseded


def crl_of(hierarchy: Hierarchy, scope: Scope = SHARD, **changes: Any) -> ToBeSigned:
    issuer = changes.pop("issuer", hierarchy.issuer)
    entries = changes.pop("entries", [crl.entry(serial(), NOW, REVOKED)])
    fields = {"number": 7, "this_update": NOW, "next_update": NEXT, "scope": scope, **changes}
    return crl.to_be_signed(issuer, entries, **fields)


def raw_crl(
    hierarchy: Hierarchy, *extensions: tuple[x509.ExtensionType, bool], key: Any = None, entries: Any = ()
) -> ToBeSigned:
    builder = x509.CertificateRevocationListBuilder().issuer_name(hierarchy.issuer.certificate.subject)
    builder = builder.last_update(NOW).next_update(NEXT)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    for one in entries:
        builder = builder.add_revoked_certificate(one)
    return signed.draft(builder, key or hierarchy.issuer.public_key)


def entry(number: int, *extensions: x509.ExtensionType, critical: bool = False) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(NOW)
    for value in extensions:
        builder = builder.add_extension(value, critical)
    return builder.build()


def point(url: str = POINTERS.list(1), **flags: bool) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=[uri(url)],
        relative_name=None,
        only_contains_user_certs=flags.get("users", False),
        only_contains_ca_certs=flags.get("cas", False),
        only_some_reasons=None,
        indirect_crl=flags.get("indirect", False),
        only_contains_attribute_certs=False,
    )


def aki(hierarchy: Hierarchy) -> tuple[x509.ExtensionType, bool]:
    issuer = hierarchy.issuer.certificate
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False


def freshest(url: str = POINTERS.delta) -> tuple[x509.ExtensionType, bool]:
    return x509.FreshestCRL([x509.DistributionPoint([uri(url)], None, None, None)]), False


FOREIGN = (x509.AuthorityKeyIdentifier(b"\x01" * 20, None, None), False)
NUMBER, POINT = (x509.CRLNumber(7), False), (point(), True)
INDICATOR = (x509.DeltaCRLIndicator(3), True)
REMOVED = x509.ReasonFlags.remove_from_crl
FOREIGN_KEY = Ed25519PrivateKey.generate().public_key()
OURS = serial().number


def with_entries(h: Hierarchy, *entries: x509.RevokedCertificate) -> ToBeSigned:
    return raw_crl(h, aki(h), NUMBER, POINT, entries=entries)


def removed() -> bytes:
    return crl.entry(serial(), NOW, REMOVED)


def delta_with(h: Hierarchy, reason: x509.ReasonFlags) -> ToBeSigned:
    return raw_crl(h, aki(h), NUMBER, INDICATOR, entries=[entry(OURS, x509.CRLReason(reason))])


MUTATIONS: list[tuple[str, str, Callable[[Hierarchy], ToBeSigned]]] = [
    ("_algorithm", "of another key", lambda h: raw_crl(h, aki(h), NUMBER, POINT, key=FOREIGN_KEY)),
    ("_issuer", "another issuer", lambda h: crl_of(h, issuer=h.root)),
    ("_times", "another thisUpdate", lambda h: crl_of(h, this_update=NOW - timedelta(hours=1))),
    ("_times", "another nextUpdate", lambda h: crl_of(h, next_update=NEXT + timedelta(hours=1))),
    ("_number", "another number", lambda h: crl_of(h, number=6)),
    ("_number", "no number", lambda h: raw_crl(h, aki(h), POINT)),
    ("_number", "critical", lambda h: raw_crl(h, aki(h), (x509.CRLNumber(7), True), POINT)),
    ("_authority_key_identifier", "none", lambda h: raw_crl(h, NUMBER, POINT)),
    ("_authority_key_identifier", "another key's", lambda h: raw_crl(h, FOREIGN, NUMBER, POINT)),
    ("_scope", "another shard", lambda h: crl_of(h, Scope(distribution_point=POINTERS.list(2)))),
    ("_scope", "none", lambda h: crl_of(h, FULL)),
    ("_scope", "not critical", lambda h: raw_crl(h, aki(h), NUMBER, (point(), False))),
    ("_scope", "CAs only", lambda h: raw_crl(h, aki(h), NUMBER, (point(cas=True), True))),
    ("_scope", "users only", lambda h: raw_crl(h, aki(h), NUMBER, (point(users=True), True))),
    ("_scope", "indirect", lambda h: raw_crl(h, aki(h), NUMBER, (point(indirect=True), True))),
    ("_nothing_else", "a delta", lambda h: raw_crl(h, aki(h), NUMBER, POINT, INDICATOR)),
    ("_nothing_else", "with a delta", lambda h: raw_crl(h, aki(h), NUMBER, POINT, freshest())),
    ("_entries", "a short serial", lambda h: with_entries(h, entry(5))),
    ("_entries", "a long serial", lambda h: with_entries(h, entry(1 << 156))),
    ("_entries", "unspecified", lambda h: with_entries(h, entry(OURS, x509.CRLReason(x509.ReasonFlags.unspecified)))),
    (
        "_entries",
        "removed from a full list",
        lambda h: with_entries(h, entry(OURS, x509.CRLReason(REMOVED))),
    ),
    (
        "_entries",
        "a critical reason",
        lambda h: with_entries(h, entry(OURS, x509.CRLReason(REVOKED), critical=True)),
    ),
    ("_entries", "an invalidity date", lambda h: with_entries(h, entry(OURS, x509.InvalidityDate(NOW)))),
    (
        "_entries",
        "one bad among good",
        lambda h: with_entries(h, entry(OURS), entry(6), entry(OURS, x509.CRLReason(REVOKED))),
    ),
    ("the bytes do not parse", "nothing", lambda h: replace(crl_of(h), tbs=b"")),
    ("the bytes do not parse", "no certificate list", lambda h: replace(crl_of(h), tbs=b"\x30\x03\x02\x01\x01")),
]
OF_OTHER_SCOPES: list[tuple[str, str, Scope, Callable[[Hierarchy], ToBeSigned]]] = [
    ("_scope", "another base", DELTA, lambda h: crl_of(h, Scope(base=2))),
    ("_scope", "a full list for a delta", DELTA, lambda h: crl_of(h, FULL)),
    ("_scope", "an indicator that may be ignored", DELTA, lambda h: raw_crl(h, aki(h), NUMBER, (INDICATOR[0], False))),
    ("_scope", "no delta named", WITH_DELTA, lambda h: crl_of(h, FULL)),
    ("_scope", "another delta named", WITH_DELTA, lambda h: raw_crl(h, aki(h), NUMBER, freshest(POINTERS.list(1)))),
    ("_scope", "a critical delta", WITH_DELTA, lambda h: raw_crl(h, aki(h), NUMBER, (freshest()[0], True))),
    ("_base", "itself", Scope(base=7), lambda h: crl_of(h, Scope(base=7))),
    ("_base", "a list to come", Scope(base=8), lambda h: crl_of(h, Scope(base=8))),
    ("_base", "no list", Scope(base=0), lambda h: crl_of(h, Scope(base=0))),
    ("_nothing_else", "a shard for the full list", FULL, lambda h: crl_of(h, SHARD)),
    ("_nothing_else", "a delta for the full list", FULL, lambda h: crl_of(h, DELTA)),
    ("_nothing_else", "a delta of a delta", DELTA, lambda h: raw_crl(h, aki(h), NUMBER, INDICATOR, freshest())),
    *[
        ("_entries", f"removed, in {name}", scope, lambda h, scope=scope: crl_of(h, scope, entries=[removed()]))
        for name, scope in (("a shard", SHARD), ("a full list", FULL), ("one with a delta", WITH_DELTA))
    ],
    ("_entries", "unspecified, in a delta", DELTA, lambda h: delta_with(h, x509.ReasonFlags.unspecified)),
]
# cryptography writes and reads version 2 alone, so a first version does not even parse.
UNBREAKABLE = {"_version"}


def lint(hierarchy: Hierarchy, to_be_signed: ToBeSigned, scope: Scope = SHARD) -> Linted:
    return lint_crl(to_be_signed, Wanted(hierarchy.issuer, 7, NOW, NEXT, scope))


REASONS = sorted(set(x509.ReasonFlags) - {REMOVED}, key=str)
SCOPES = {"shard": SHARD, "full": FULL, "full with a delta": WITH_DELTA, "delta": DELTA}


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES.keys())
@pytest.mark.parametrize("count", [0, 1, 3, 200, 3000])
def test_a_sound_crl_passes(hierarchy: Hierarchy, scope: Scope, count: int) -> None:
    drawn = [Serial.assign(1 + number % 127, number.to_bytes(18, "big")) for number in range(count)]
    entries = [crl.entry(one, NOW, REASONS[number % len(REASONS)]) for number, one in enumerate(drawn)]
    to_be_signed = crl_of(hierarchy, scope, entries=entries)
    assert lint(hierarchy, to_be_signed, scope) == Linted(to_be_signed)


def test_a_delta_says_what_was_released(hierarchy: Hierarchy) -> None:
    """RFC 5280 5.3.1: removeFromCRL, in deltas alone."""
    late = crl.entry(serial(2), NOW.replace(year=2050), REMOVED)
    lint(hierarchy, crl_of(hierarchy, DELTA, entries=[removed(), late, crl.entry(serial(3), NOW, REVOKED)]), DELTA)


def test_entries_of_after_2049_pass(hierarchy: Hierarchy) -> None:
    late = [crl.entry(serial(), NOW.replace(year=2050), reason) for reason in REASONS]
    lint(hierarchy, crl_of(hierarchy, entries=late))


@pytest.mark.parametrize(
    ("rule", "mutate"),
    [(rule, mutate) for rule, _, mutate in MUTATIONS],
    ids=[f"{rule}: {wrong}" for rule, wrong, _ in MUTATIONS],
)
def test_a_wrong_crl_is_refused(hierarchy: Hierarchy, rule: str, mutate: Callable[[Hierarchy], ToBeSigned]) -> None:
    with pytest.raises(Refused, match=rf"\((crl )?{rule}\)") as caught:
        lint(hierarchy, mutate(hierarchy))
    assert caught.value.reason is Reason.LINT_FAILED


@pytest.mark.parametrize(
    ("rule", "scope", "mutate"),
    [(rule, scope, mutate) for rule, _, scope, mutate in OF_OTHER_SCOPES],
    ids=[f"{rule}: {wrong}" for rule, wrong, _, _ in OF_OTHER_SCOPES],
)
def test_no_list_is_passed_off_as_another(
    hierarchy: Hierarchy, rule: str, scope: Scope, mutate: Callable[[Hierarchy], ToBeSigned]
) -> None:
    with pytest.raises(Refused, match=rf"\(crl {rule}\)"):
        lint(hierarchy, mutate(hierarchy), scope)


def test_a_crl_whose_next_update_is_not_after_it_is_refused(hierarchy: Hierarchy) -> None:
    with pytest.raises(Refused, match="_times"):
        lint_crl(crl_of(hierarchy), Wanted(hierarchy.issuer, 7, NOW, NOW, SHARD))


def test_every_rule_has_a_mutation() -> None:
    assert {rule.__name__ for rule in CRL_RULES} - UNBREAKABLE == {
        rule for rule, *_ in [*MUTATIONS, *OF_OTHER_SCOPES] if rule.startswith("_")
    }
