"""The private extensions, read by a parser that did not write them: asn1crypto, from the ASN.1 in the module's head."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import ClassVar

import pytest
from asn1crypto import core
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ca.identifiers import Thumbprint
from ca.pki.extensions import AgentDelegation, AgentTask, private_extension

DIGESTS = st.binary(min_size=32, max_size=32)
MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(  # noqa: DTZ001 (made aware)
    lambda moment: moment.replace(microsecond=0)
)
IA5 = st.text(st.characters(max_codepoint=127), min_size=1, max_size=80)


class Resources(core.SequenceOf):
    _child_spec = core.IA5String


class IndependentTask(core.Sequence):
    _fields: ClassVar = [
        ("version", core.Integer),
        ("taskId", core.UTF8String),
        ("deadline", core.GeneralizedTime, {"implicit": 0, "optional": True}),
        ("detailsSha256", core.OctetString, {"implicit": 1, "optional": True}),
        ("detailsRef", core.IA5String, {"implicit": 2, "optional": True}),
        ("scope", core.UTF8String, {"implicit": 3, "optional": True}),
        ("resources", Resources, {"implicit": 4, "optional": True}),
        ("principalSha256", core.OctetString, {"implicit": 5, "optional": True}),
    ]


class IndependentDelegation(core.Sequence):
    _fields: ClassVar = [
        ("depth", core.Integer),
        ("maxDepth", core.Integer),
        ("parentX5t", core.OctetString),
        ("rootX5t", core.OctetString, {"implicit": 0, "optional": True}),
    ]


tasks = st.builds(
    AgentTask,
    task_id=st.text(min_size=1, max_size=30),
    deadline=st.none() | MOMENTS,
    details_sha256=st.none() | DIGESTS,
    details_ref=st.none() | IA5,
    scope=st.none() | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=512),
    resources=st.lists(IA5, max_size=4).map(tuple),
    principal_sha256=st.none() | DIGESTS,
)
delegations = st.integers(0, 15).flatmap(
    lambda most: st.builds(
        AgentDelegation,
        depth=st.integers(0, most),
        max_depth=st.just(most),
        parent=DIGESTS.map(Thumbprint),
        root=st.none() | DIGESTS.map(Thumbprint),
    )
)


@given(tasks)
def test_a_task_survives_and_an_independent_parser_agrees(task: AgentTask) -> None:
    encoded = task.encode()
    assert AgentTask.decode(encoded) == task
    read = IndependentTask.load(encoded, strict=True).native
    assert read == {
        "version": 1,
        "taskId": task.task_id,
        "deadline": task.deadline,
        "detailsSha256": task.details_sha256,
        "detailsRef": task.details_ref,
        "scope": task.scope,
        "resources": list(task.resources) or None,
        "principalSha256": task.principal_sha256,
    }


@given(delegations)
def test_a_delegation_survives_and_an_independent_parser_agrees(delegation: AgentDelegation) -> None:
    encoded = delegation.encode()
    assert AgentDelegation.decode(encoded) == delegation
    assert IndependentDelegation.load(encoded, strict=True).native == {
        "depth": delegation.depth,
        "maxDepth": delegation.max_depth,
        "parentX5t": delegation.parent.digest,
        "rootX5t": delegation.root.digest if delegation.root else None,
    }


# Golden octets, put together by hand from X.690 and the ASN.1: what old certificates say must stay readable.

SMALL = bytes.fromhex("3007 020101 0c02 7431")
FULL_TASK = AgentTask(
    task_id="t1",
    deadline=datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC),
    details_sha256=bytes(32),
    details_ref="urn:d",
    scope="a b",
    resources=("urn:r", "urn:s"),
    principal_sha256=b"\x01" * 32,
)
FULL = bytes.fromhex(
    "3078"
    "020101"
    "0c027431"
    "800f32303331303530363037303830395a"
    "8120" + "00" * 32 + "820575726e3a64"
    "8303612062"
    "a40e160575726e3a72160575726e3a73"
    "8520" + "01" * 32
)


def test_golden_task() -> None:
    assert AgentTask("t1").encode() == SMALL
    assert FULL_TASK.encode() == FULL
    assert AgentTask.decode(FULL) == FULL_TASK


def test_golden_delegation() -> None:
    parent, root = Thumbprint(b"\x02" * 32), Thumbprint(b"\x03" * 32)
    short = bytes.fromhex("3028" + "020101" + "020103" + "0420" + "02" * 32)
    long = bytes.fromhex("304a" + "020101" + "020103" + "0420" + "02" * 32 + "8020" + "03" * 32)
    assert AgentDelegation(1, 3, parent).encode() == short
    assert AgentDelegation(1, 3, parent, root).encode() == long
    assert AgentDelegation.decode(long) == AgentDelegation(1, 3, parent, root)


@pytest.mark.parametrize(
    "value",
    [
        SMALL.replace(b"\x02\x01\x01", b"\x02\x01\x02"),
        SMALL.replace(b"\x02\x01\x01", b"\x02\x01\x00"),
        b"",
        b"\x30\x00",
        SMALL + b"\x00",
        SMALL[:-1],
        b"\x31" + SMALL[1:],
        bytes.fromhex("3005 020101 0c00"),
        bytes.fromhex("30818a 020101 0c818401" + "61" * 132),
        bytes.fromhex("300a 020101 0c027431 8001 00"),
        bytes.fromhex("300a 020101 0c027431 8101 00"),
        bytes.fromhex("3009 020101 0c027431 8300"),
        bytes.fromhex("3009 020101 0c027431 8600"),
        bytes.fromhex("3080 020101 0c027431 0000"),
        bytes.fromhex("3007 020101 0c02 ff31"),
    ],
    ids=[
        "version 2",
        "version 0",
        "nothing",
        "empty",
        "trailing octet",
        "cut short",
        "a SET",
        "no task",
        "wrong length",
        "deadline of one octet",
        "digest of one octet",
        "empty scope",
        "unknown field",
        "indefinite length",
        "not UTF-8",
    ],
)
def test_another_task_extension_is_not_read(value: bytes) -> None:
    with pytest.raises(ValueError):
        AgentTask.decode(value)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x30\x00",
        bytes.fromhex("3028" + "020104" + "020103" + "0420" + "02" * 32),
        bytes.fromhex("3028" + "020101" + "020110" + "0420" + "02" * 32),
        bytes.fromhex("3028" + "0201ff" + "020103" + "0420" + "02" * 32),
        bytes.fromhex("3027" + "020101" + "020103" + "041f" + "02" * 31),
        bytes.fromhex("3029" + "020101" + "020103" + "0421" + "02" * 33),
    ],
    ids=["nothing", "empty", "deeper than the limit", "limit of 16", "negative", "31 octets", "33 octets"],
)
def test_another_delegation_extension_is_not_read(value: bytes) -> None:
    with pytest.raises(ValueError):
        AgentDelegation.decode(value)


@pytest.mark.parametrize("length", [1, 128])
def test_a_task_id_of_any_size_that_the_type_allows(length: int) -> None:
    assert AgentTask.decode(AgentTask("x" * length).encode()).task_id == "x" * length


@pytest.mark.parametrize("length", [0, 129])
def test_a_task_id_of_another_size_is_not_encoded(length: int) -> None:
    with pytest.raises(ValueError):
        AgentTask("x" * length).encode()


@pytest.mark.parametrize("scope", ["", "x" * 513, "é" * 257], ids=["empty", "513 octets", "514 octets, 257 characters"])
def test_a_scope_of_another_size_is_refused(scope: str) -> None:
    with pytest.raises(ValueError, match="1 to 512 octets"):
        AgentTask("t", scope=scope)


@pytest.mark.parametrize("field", ["details_sha256", "principal_sha256"])
@pytest.mark.parametrize("length", [0, 20, 31, 33])
def test_a_digest_of_another_size_is_refused(field: str, length: int) -> None:
    with pytest.raises(ValueError, match="32 octets"):
        AgentTask("t", **{field: bytes(length)})  # type: ignore[arg-type]


@pytest.mark.parametrize(("depth", "most"), [(-1, 3), (4, 3), (0, 16), (16, 16)])
def test_an_impossible_depth_is_not_encoded(depth: int, most: int) -> None:
    with pytest.raises(ValueError, match="maxDepth"):
        AgentDelegation(depth, most, Thumbprint(bytes(32))).encode()


def test_each_stands_under_its_own_arc() -> None:
    task = private_extension("1.2.3", AgentTask("t"))
    delegation = private_extension("1.2.3", AgentDelegation(0, 1, Thumbprint(bytes(32))))
    assert (task.oid.dotted_string, delegation.oid.dotted_string) == ("1.2.3.1", "1.2.3.2")
    assert task == x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.1"), AgentTask("t").encode())


def test_a_deadline_of_another_zone_is_written_in_utc() -> None:
    elsewhere = datetime(2031, 5, 6, 9, 8, 9, tzinfo=timezone(timedelta(hours=2)))
    encoded = AgentTask("t", deadline=elsewhere).encode()
    assert b"20310506070809Z" in encoded
    assert AgentTask.decode(encoded).deadline == elsewhere


def test_a_deadline_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        AgentTask("t", deadline=datetime(2031, 5, 6)).encode()  # noqa: DTZ001 (that is the fault)
