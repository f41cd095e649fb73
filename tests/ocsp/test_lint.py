"""Each rule has a mutation that breaks it and no other; no changed octet passes (cases 6 and 14)."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given, settings
from hypothesis import strategies as st

from ca.refusals import Reason, Refused
from ocsp import lint
from ocsp.answer import (
    GOOD,
    NEVER_ISSUED,
    UNKNOWN,
    CertStatus,
    Contents,
    Revocation,
    Signatory,
    response_data,
)
from ocsp.der import NotDer
from ocsp.lint import RULES, Linted, lint_response
from ocsp.request import CertificateId, Request, parse
from tests.ocsp.house import House, question
from tests.ocsp.test_request import NONCE_OID, OTHER_OID, extension, tlv

HOUSE = House()
SIGNATORY = Signatory.of(HOUSE.shelf.responders_of["issuing-1"][0])
AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
LONGEST = timedelta(seconds=60)
ENDED = Revocation(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), x509.ReasonFlags.superseded)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
NONCE = bytes(range(32))
REVOKED_OID = bytes.fromhex("06092b0601050507300109")
REASONS = [reason for reason in x509.ReasonFlags if reason is not x509.ReasonFlags.remove_from_crl]


def certificate(
    serial: int = 77, algorithm: hashes.HashAlgorithm | None = None, ca: x509.Certificate = HOUSE.issuing
) -> CertificateId:
    return parse(question(ca, serial, algorithm)).certificates[0]


def contents_of(
    *singles: tuple[CertificateId, CertStatus], nonce: bytes | None = None, extended: bool = False
) -> Contents:
    request = Request(tuple(one for one, _ in singles), nonce)
    return Contents(request, tuple(status for _, status in singles), AT, AT + LONGEST, extended)


@dataclass(frozen=True)
class Case:
    """What `lint_response` is asked: bytes, and what they should say."""

    tbs: bytes
    contents: Contents
    now: datetime = AT + SECOND / 2
    longest: timedelta = LONGEST

    def broken(self) -> list[str]:
        """The names of all rules that do not hold, by the same reading."""
        case = lint._read(self.tbs, SIGNATORY, self.contents, self.now, self.longest)
        return [rule.__name__ for rule in RULES if not rule(case)]

    def lint(self) -> Linted:
        return lint_response(self.tbs, SIGNATORY, self.contents, now=self.now, longest=self.longest)


def case_of(contents: Contents) -> Case:
    """As the service would write it."""
    return Case(response_data(SIGNATORY, contents), contents)


SOUND = {
    "good": case_of(contents_of((certificate(), GOOD))),
    "unknown": case_of(contents_of((certificate(), UNKNOWN))),
    "revoked": case_of(contents_of((certificate(), ENDED))),
    "without a reason": case_of(
        contents_of((certificate(), Revocation(ENDED.at, x509.ReasonFlags.unspecified)), nonce=b"n")
    ),
    "never issued": case_of(contents_of((certificate(), NEVER_ISSUED), extended=True)),
    "nonce": case_of(contents_of((certificate(5, hashes.SHA512()), ENDED), nonce=NONCE, extended=True)),
    "three": case_of(contents_of((certificate(5), GOOD), (certificate(5), GOOD), (certificate(6), ENDED))),
    "of another CA": case_of(contents_of((certificate(5), GOOD), (certificate(5, ca=HOUSE.root), UNKNOWN))),
}


# The same by hand, so that each part can be another.


def time(at: datetime) -> bytes:
    return tlv(0x18, f"{at:%Y%m%d%H%M%S}Z".encode())


KEY_HASH = tlv(0xA2, tlv(0x04, SIGNATORY.key_hash))
NAMED = tlv(0xA1, SIGNATORY.certificate.subject.public_bytes())
PLAIN = tlv(0x80)
END = tlv(0xA0, time(AT + LONGEST))


def single(status: bytes = PLAIN, *, of: bytes | None = None, since: datetime = AT, rest: bytes = END) -> bytes:
    return tlv(0x30, certificate().der if of is None else of, status, time(since), rest)


def data(
    *singles: bytes,
    version: bytes = b"",
    responder: bytes = KEY_HASH,
    at: datetime = AT,
    extensions: tuple[bytes, ...] = (),
    after: bytes = b"",
) -> bytes:
    last = tlv(0xA1, tlv(0x30, *extensions)) if extensions else b""
    return tlv(0x30, version, responder, time(at), tlv(0x30, *(singles or (single(),))), last, after)


def revoked(reason: int | None = 4, at: datetime = ENDED.at) -> bytes:
    return tlv(0xA1, time(at), b"" if reason is None else tlv(0xA0, tlv(0x0A, bytes([reason]))))


def says(tbs: bytes, like: str = "good", **contents: object) -> Case:
    """These bytes where this was to be said."""
    sound = SOUND[like]
    return replace(sound, tbs=tbs, contents=replace(sound.contents, **contents))  # type: ignore[arg-type] (any field)


def decided(like: str = "good", **contents: object) -> Case:
    """Decided so, and written as decided."""
    return case_of(replace(SOUND[like].contents, **contents))  # type: ignore[arg-type] (any field)


def nonce(value: bytes, critical: bytes = b"") -> bytes:
    return extension(NONCE_OID, tlv(0x04, value), critical)


ASKED = Request((certificate(),), NONCE)
DECLARED = extension(REVOKED_OID, b"\x05\x00")
CRITICAL = b"\x01\x01\xff"
FOREIGN = ((certificate(5, ca=HOUSE.root), GOOD), (certificate(5, hashes.SHA256(), HOUSE.root), ENDED))
REMOVED = Revocation(AT, x509.ReasonFlags.remove_from_crl)

# rule, what is wrong, and the case
MUTATIONS: list[tuple[str, str, Case]] = [
    ("_version_is_the_default", "written out", says(data(version=tlv(0xA0, b"\x02\x01\x00")))),
    ("_version_is_the_default", "version 2", says(data(version=tlv(0xA0, b"\x02\x01\x01")))),
    ("_responder_is_named_by_its_key", "by its name", says(data(responder=NAMED))),
    ("_responder_is_named_by_its_key", "another key", says(data(responder=tlv(0xA2, tlv(0x04, bytes(20)))))),
    ("_produced_this_second", "another moment", says(data(at=AT - HOUR))),
    ("_produced_this_second", "a second ago", replace(SOUND["good"], now=AT + SECOND)),
    ("_produced_this_second", "in the future", replace(SOUND["good"], now=AT - SECOND / 10)),
    ("_answers_what_was_asked", "another serial", says(data(single(of=certificate(78).der)))),
    ("_answers_what_was_asked", "another hash", says(data(single(of=certificate(77, hashes.SHA256()).der)))),
    (
        "_answers_what_was_asked",
        "in another order",
        says(
            data(*(single(of=certificate(n).der) for n in (6, 5))),
            request=Request((certificate(5), certificate(6)), None),
            statuses=(GOOD, GOOD),
        ),
    ),
    ("_answers_what_was_asked", "nothing", decided(request=Request((), None), statuses=())),
    ("_statuses_are_those_decided", "good of a revoked one", says(data(), "revoked")),
    ("_statuses_are_those_decided", "good of an unknown one", says(data(), "unknown")),
    ("_statuses_are_those_decided", "unknown of a good one", says(data(single(tlv(0x82))))),
    ("_statuses_are_those_decided", "revoked", says(data(single(revoked())))),
    ("_statuses_are_those_decided", "another moment", says(data(single(revoked(at=AT))), "revoked")),
    ("_statuses_are_those_decided", "another reason", says(data(single(revoked(5))), "revoked")),
    ("_statuses_are_those_decided", "no reason", says(data(single(revoked(None))), "revoked")),
    ("_speaks_for_its_own_ca", "good of another CA's", case_of(contents_of((certificate(), GOOD), FOREIGN[0]))),
    ("_speaks_for_its_own_ca", "revoked of another CA's", case_of(contents_of(FOREIGN[1]))),
    ("_reasons_are_of_an_end", "removeFromCRL", decided(statuses=(REMOVED,))),
    ("_lives_as_decided", "from earlier on", says(data(single(since=AT - HOUR)))),
    ("_lives_as_decided", "for longer", says(data(single(rest=tlv(0xA0, time(AT + HOUR)))))),
    ("_lives_as_decided", "for ever", says(data(single(rest=b"")))),
    ("_ends_after_it_begins", "over at once", decided(next_update=AT)),
    ("_ends_after_it_begins", "over before", decided(next_update=AT - HOUR)),
    ("_lives_no_longer_than_the_terms", "an hour", decided(next_update=AT + HOUR)),
    ("_lives_no_longer_than_the_terms", "shorter terms", replace(SOUND["good"], longest=SECOND)),
    (
        "_lives_within_the_responders_certificate",
        "outlives it",
        replace(
            decided(next_update=SIGNATORY.certificate.not_valid_after_utc + SECOND), longest=timedelta(days=50_000)
        ),
    ),
    (
        "_lives_within_the_responders_certificate",
        "before it",
        replace(
            decided(produced_at=datetime(2019, 1, 1, tzinfo=UTC), next_update=datetime(2019, 1, 1, 0, 1, tzinfo=UTC)),
            now=datetime(2019, 1, 1, tzinfo=UTC),
        ),
    ),
    ("_nonce_is_the_one_asked_with", "absent", says(data(), request=ASKED)),
    ("_nonce_is_the_one_asked_with", "another", says(data(extensions=(nonce(b"other"),)), request=ASKED)),
    ("_nonce_is_the_one_asked_with", "not asked for", says(data(extensions=(nonce(NONCE),)))),
    ("_nonce_is_the_one_asked_with", "twice", says(data(extensions=(nonce(NONCE), nonce(NONCE))), request=ASKED)),
    ("_nonce_is_the_one_asked_with", "empty", decided(request=replace(ASKED, nonce=b""))),
    ("_nonce_is_the_one_asked_with", "too long", decided(request=replace(ASKED, nonce=bytes(129)))),
    ("_never_issued_is_declared", "not declared", decided(statuses=(NEVER_ISSUED,))),
    ("_never_issued_is_declared", "declared where that is not wanted", says(data(extensions=(DECLARED,)))),
    ("_never_issued_is_declared", "left out", says(data(single(tlv(0x80))), extended_revoke=True)),
    ("_never_issued_is_declared", "twice", says(data(extensions=(DECLARED, DECLARED)), extended_revoke=True)),
    (
        "_never_issued_is_declared",
        "not NULL",
        says(data(extensions=(extension(REVOKED_OID, b"\x04\x00"),)), extended_revoke=True),
    ),
    ("_nothing_else", "an archive cutoff", says(data(extensions=(extension(OTHER_OID, time(AT)),)))),
    ("_nothing_else", "a critical nonce", says(data(extensions=(nonce(NONCE, CRITICAL),)), request=ASKED)),
    (
        "_nothing_else",
        "on one certificate",
        says(data(single(rest=END + tlv(0xA1, tlv(0x30, extension(OTHER_OID, b"\x05\x00")))))),
    ),
]

# What RFC 6960 4.2.1 or X.690 does not allow at all.
UNREADABLE = {
    "nothing": b"",
    "empty": b"\x30\x00",
    "nuls": bytes(100),
    "indefinite": b"\x30\x80\x00\x00",
    "not a SEQUENCE": b"\x31" + SOUND["good"].tbs[1:],
    "an octet too many": SOUND["good"].tbs + b"\x00",
    "a field too many": data(after=b"\x05\x00"),
    "no extensions in their list": data(after=tlv(0xA1, tlv(0x30))),
    "a version after the responder": tlv(0x30, KEY_HASH, tlv(0xA0, b"\x02\x01\x00"), time(AT), tlv(0x30, single())),
    "UTCTime": data(single(rest=tlv(0xA0, tlv(0x17, b"260504030301Z")))),
    "a fraction": data(single(rest=tlv(0xA0, tlv(0x18, b"20260504030301.5Z")))),
    "a zone": data(single(rest=tlv(0xA0, tlv(0x18, b"20260504030301+0000")))),
    "good with something in it": data(single(tlv(0x80, b"\x05\x00"))),
    "a status of no kind": data(single(tlv(0x83))),
    "a reason of two octets": data(single(tlv(0xA1, time(AT), tlv(0xA0, tlv(0x0A, b"\x00\x04"))))),
    "a reason that is an INTEGER": data(single(tlv(0xA1, time(AT), tlv(0xA0, tlv(0x02, b"\x04"))))),
    "no moment of revocation": data(single(tlv(0xA1))),
    "no thisUpdate": data(tlv(0x30, certificate().der, PLAIN)),
    "a single response that is none": data(tlv(0x31)),
    "an extension that is none": data(extensions=(tlv(0x30, NONCE_OID),)),
    "an extension that is no SEQUENCE": data(extensions=(tlv(0x31),)),
    "FALSE written out": data(extensions=(nonce(NONCE, b"\x01\x01\x00"),)),
    "another TRUE": data(extensions=(nonce(NONCE, b"\x01\x01\x01"),)),
}


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND)
def test_a_sound_response_passes_and_is_what_is_signed(case: Case) -> None:
    assert case.broken() == []
    assert case.lint() == Linted(SIGNATORY, case.tbs)


def test_writing_by_hand_is_no_mutation() -> None:
    """So that what a mutation breaks is the mutation's doing."""
    assert data() == SOUND["good"].tbs
    assert data(single(revoked())) == SOUND["revoked"].tbs
    assert (
        data(single(tlv(0x80)), extensions=(nonce(NONCE), DECLARED))
        == case_of(replace(SOUND["nonce"].contents, request=ASKED, statuses=(GOOD,))).tbs
    )


@pytest.mark.parametrize(
    ("rule", "case"), [(rule, case) for rule, _, case in MUTATIONS], ids=[f"{r} {w}" for r, w, _ in MUTATIONS]
)
def test_a_mutation_breaks_its_rule_alone_and_is_refused(rule: str, case: Case) -> None:
    assert case.broken() == [rule]
    with pytest.raises(Refused, match=rule) as caught:
        case.lint()
    assert caught.value.reason is Reason.LINT_FAILED


def test_every_rule_has_a_mutation_and_a_citation() -> None:
    assert {rule.__name__ for rule in RULES} == {rule for rule, _, _ in MUTATIONS}
    assert len(set(RULES)) == len(RULES)
    assert all(str(rule.__doc__).startswith("RFC ") for rule in RULES)


def test_every_rule_of_the_module_is_run() -> None:
    annotated: dict[str, Callable[..., object]] = {
        name: value
        for name, value in vars(lint).items()
        if callable(value) and getattr(value, "__annotations__", {}).get("case") == "_Case"
    }
    assert annotated.keys() == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize("tbs", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_strictly_is_refused(tbs: bytes) -> None:
    case = replace(SOUND["good"], tbs=tbs)
    with pytest.raises(NotDer):
        case.broken()
    with pytest.raises(Refused) as caught:
        case.lint()
    assert caught.value.reason is Reason.LINT_FAILED


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND)
def test_no_changed_octet_passes(case: Case) -> None:
    """Every octet, to every other value that is next to it by one bit or at an edge."""
    for at, octet in enumerate(case.tbs):
        for other in {octet ^ (1 << bit) for bit in range(8)} | {0, 0x80, 0xFF} - {octet}:
            _refused(replace(case, tbs=case.tbs[:at] + bytes([other]) + case.tbs[at + 1 :]))


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND)
def test_no_cut_passes(case: Case) -> None:
    for end in range(len(case.tbs)):
        _refused(replace(case, tbs=case.tbs[:end]))


@settings(max_examples=500)
@given(st.data())
def test_no_splice_passes(choose: st.DataObject) -> None:
    """Octets taken out, and others put in their place."""
    case = choose.draw(st.sampled_from(list(SOUND.values())))
    start = choose.draw(st.integers(0, len(case.tbs)))
    stop = choose.draw(st.integers(start, len(case.tbs)))
    spliced = case.tbs[:start] + choose.draw(st.binary(max_size=12)) + case.tbs[stop:]
    if spliced != case.tbs:
        _refused(replace(case, tbs=spliced))


STATUSES = st.one_of(
    st.sampled_from([GOOD, UNKNOWN]),
    st.builds(
        Revocation,
        st.datetimes(datetime(1971, 1, 1), datetime(9999, 12, 31)).map(  # noqa: DTZ001 (given a zone here)
            lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
        ),
        st.sampled_from(REASONS),
    ),
)
SERIALS = st.integers(min_value=1, max_value=2**159 - 1)


@given(
    st.lists(st.tuples(SERIALS.map(certificate), STATUSES), min_size=1, max_size=16),
    st.one_of(st.none(), st.binary(min_size=1, max_size=128)),
    st.booleans(),
)
def test_whatever_is_decided_and_written_passes(
    singles: list[tuple[CertificateId, CertStatus]], asked: bytes | None, extended: bool
) -> None:
    case = case_of(contents_of(*singles, nonce=asked, extended=extended))
    assert case.lint().tbs == case.tbs


def test_the_order_of_extensions_is_free() -> None:
    swapped = says(data(extensions=(DECLARED, nonce(NONCE))), request=ASKED, extended_revoke=True)
    assert swapped.lint().tbs == swapped.tbs


def test_only_the_lint_makes_what_is_signed_and_only_that_is_signed() -> None:
    """In the sources: nobody else calls `Linted`, and one function hands messages to a signer."""
    calls = [
        (path.name, node.func)
        for path in Path(lint.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
    ]
    assert [name for name, called in calls if isinstance(called, ast.Name) and called.id == "Linted"] == ["lint.py"]
    assert [name for name, called in calls if isinstance(called, ast.Attribute) and called.attr == "sign"] == [
        "responder.py"
    ]


def _refused(case: Case) -> None:
    with pytest.raises(Refused) as caught:
        case.lint()
    assert caught.value.reason is Reason.LINT_FAILED, case.tbs.hex()
