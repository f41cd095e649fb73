"""The two private extensions: what an agent may do (AgentTask) and from whom it has it (AgentDelegation).

    AgentTask ::= SEQUENCE {
        version           INTEGER (1),
        taskId            UTF8String (SIZE(1..128)),
        deadline      [0] GeneralizedTime OPTIONAL,
        detailsSha256 [1] OCTET STRING (SIZE(32)) OPTIONAL,
        detailsRef    [2] IA5String OPTIONAL,
        scope         [3] UTF8String (SIZE(1..512)) OPTIONAL,
        resources     [4] SEQUENCE OF IA5String OPTIONAL,
        principalSha256 [5] OCTET STRING (SIZE(32)) OPTIONAL }

    AgentDelegation ::= SEQUENCE {
        depth INTEGER (0..15), maxDepth INTEGER (0..15),
        parentX5t OCTET STRING (SIZE(32)), rootX5t [0] OCTET STRING (SIZE(32)) OPTIONAL }

Tags are IMPLICIT. Both are always non-critical: every TLS stack tried refuses a critical
extension that it does not know. The authorization details themselves stay in the registry;
the certificate, which every peer sees and every log keeps, carries their digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1

from ca.identifiers import Thumbprint

_TASK = "1"
_DELEGATION = "2"
SCOPE_MAX_OCTETS = 512

MAX_OCTETS = 1024
"""Of one private extension: it rides in every handshake and every log."""


@asn1.sequence
class _AgentTask:
    version: int
    task_id: Annotated[str, asn1.Size(1, 128)]
    deadline: Annotated[asn1.GeneralizedTime | None, asn1.Implicit(0)]
    details_sha256: Annotated[bytes | None, asn1.Implicit(1)]
    details_ref: Annotated[asn1.IA5String | None, asn1.Implicit(2)]
    scope: Annotated[str | None, asn1.Implicit(3)]
    resources: Annotated[list[asn1.IA5String] | None, asn1.Implicit(4)]
    principal_sha256: Annotated[bytes | None, asn1.Implicit(5)]


@asn1.sequence
class _AgentDelegation:
    depth: int
    max_depth: int
    parent_x5t: Annotated[bytes, asn1.Size(32, 32)]
    root_x5t: Annotated[bytes | None, asn1.Implicit(0)]


@dataclass(frozen=True, slots=True)
class AgentTask:
    """The task that a certificate was issued for. `deadline` has whole seconds, UTC."""

    task_id: str
    deadline: datetime | None = None
    details_sha256: bytes | None = None
    details_ref: str | None = None
    scope: str | None = None
    resources: tuple[str, ...] = ()
    principal_sha256: bytes | None = None

    def __post_init__(self) -> None:
        if self.scope is not None and not 1 <= len(self.scope.encode()) <= SCOPE_MAX_OCTETS:
            raise ValueError("scope takes 1 to 512 octets")
        if any(len(digest) != 32 for digest in (self.details_sha256, self.principal_sha256) if digest is not None):
            raise ValueError("a digest has 32 octets")

    def encode(self) -> bytes:
        """The extension's value in DER."""
        return asn1.encode_der(
            _AgentTask(
                version=1,
                task_id=self.task_id,
                deadline=None if self.deadline is None else asn1.GeneralizedTime(self.deadline),
                details_sha256=self.details_sha256,
                details_ref=None if self.details_ref is None else asn1.IA5String(self.details_ref),
                scope=self.scope,
                resources=[asn1.IA5String(uri) for uri in self.resources] or None,
                principal_sha256=self.principal_sha256,
            )
        )

    @classmethod
    def decode(cls, value: bytes) -> AgentTask:
        """The inverse of `encode`. Raises `ValueError` for anything else, another version included."""
        raw = asn1.decode_der(_AgentTask, value)
        if raw.version != 1:
            raise ValueError("AgentTask of an unknown version")
        return cls(
            task_id=raw.task_id,
            deadline=None if raw.deadline is None else raw.deadline.as_datetime(),
            details_sha256=raw.details_sha256,
            details_ref=None if raw.details_ref is None else raw.details_ref.as_str(),
            scope=raw.scope,
            resources=tuple(uri.as_str() for uri in raw.resources or ()),
            principal_sha256=raw.principal_sha256,
        )


@dataclass(frozen=True, slots=True)
class AgentDelegation:
    """Where a certificate stands in its lineage: its parent, the root of the lineage, and how deep it is."""

    depth: int
    max_depth: int
    parent: Thumbprint
    root: Thumbprint | None = None

    def encode(self) -> bytes:
        """The extension's value in DER. Raises `ValueError` outside 0 <= depth <= max_depth <= 15."""
        if not 0 <= self.depth <= self.max_depth <= 15:
            raise ValueError("0 <= depth <= maxDepth <= 15")
        return asn1.encode_der(
            _AgentDelegation(
                depth=self.depth,
                max_depth=self.max_depth,
                parent_x5t=self.parent.digest,
                root_x5t=None if self.root is None else self.root.digest,
            )
        )

    @classmethod
    def decode(cls, value: bytes) -> AgentDelegation:
        """The inverse of `encode`. Raises `ValueError` for anything else."""
        raw = asn1.decode_der(_AgentDelegation, value)
        if not 0 <= raw.depth <= raw.max_depth <= 15:
            raise ValueError("AgentDelegation with an impossible depth")
        if raw.root_x5t is not None and len(raw.root_x5t) != 32:
            raise ValueError("AgentDelegation with a root that is no SHA-256")
        root = None if raw.root_x5t is None else Thumbprint(raw.root_x5t)
        return cls(depth=raw.depth, max_depth=raw.max_depth, parent=Thumbprint(raw.parent_x5t), root=root)


@lru_cache(maxsize=16384)
def carried(der: bytes, arc: str) -> tuple[AgentTask | None, AgentDelegation | None]:
    """What a certificate of this authority says under its arc. Remembered: the same ones come back all the time."""
    values = {
        extension.oid: extension.value.value
        for extension in x509.load_der_x509_certificate(der).extensions
        if isinstance(extension.value, x509.UnrecognizedExtension)
    }
    task, delegation = values.get(task_oid(arc)), values.get(delegation_oid(arc))
    return (
        None if task is None else AgentTask.decode(task),
        None if delegation is None else AgentDelegation.decode(delegation),
    )


def private_extension(arc: str, extension: AgentTask | AgentDelegation) -> x509.UnrecognizedExtension:
    """The extension under this authority's arc, ready for a builder (never critical)."""
    oid = task_oid(arc) if isinstance(extension, AgentTask) else delegation_oid(arc)
    return x509.UnrecognizedExtension(oid, extension.encode())


def task_oid(arc: str) -> x509.ObjectIdentifier:
    """AgentTask under this authority's arc."""
    return x509.ObjectIdentifier(f"{arc}.{_TASK}")


def delegation_oid(arc: str) -> x509.ObjectIdentifier:
    """AgentDelegation under this authority's arc."""
    return x509.ObjectIdentifier(f"{arc}.{_DELEGATION}")
