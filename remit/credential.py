"""What an agent holds: a key, the chain it presents, the root it trusts, and what the authority said of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from remit.failed import Failed
from remit.files import ABOUT, CERTIFICATE, KEY, ROOT, Contents
from remit.upkeep import Life


@dataclass(frozen=True, slots=True)
class Credential:
    """One certificate and its key. `key` (PKCS #8), `chain` (leaf and issuing CA) and `root` are PEM.

    `since` is when it was had, by the holder's clock; the other times are the authority's.
    `task` is None, `scope` and `resources` are empty for a certificate that is for no task.
    """

    key: bytes = field(repr=False)
    chain: bytes = field(repr=False)
    root: bytes = field(repr=False)
    serial: str
    not_before: datetime
    not_after: datetime
    renew_after: datetime
    since: datetime
    spiffe_id: str
    client_id: str
    x5t_s256: str
    task: str | None = None
    scope: str = ""
    resources: tuple[str, ...] = ()

    @classmethod
    def of(cls, key: bytes, root: bytes, answer: dict[str, Any], since: datetime) -> Self:
        """What the authority answered to a request with this key. Raises `Failed` if that is no credential for it."""
        try:
            chain = answer["chain"].encode()
            _check(key, chain)
            return cls(
                key=key,
                chain=chain,
                root=root,
                serial=answer["serial"],
                not_before=datetime.fromisoformat(answer["not_before"]),
                not_after=datetime.fromisoformat(answer["not_after"]),
                renew_after=datetime.fromisoformat(answer["renew_after"]),
                since=since,
                spiffe_id=answer["spiffe_id"],
                client_id=answer["client_id"],
                x5t_s256=answer["x5t#S256"],
                task=answer.get("task"),
                scope=answer.get("scope") or "",
                resources=tuple(answer.get("resources") or ()),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Failed("What was answered is no certificate for this key; is that a Remit authority?") from error

    @classmethod
    def from_files(cls, files: dict[str, bytes]) -> Self:
        """What `remit.files.read` found. Raises `Failed` where it does not belong together."""
        try:
            answer = {**json.loads(files[ABOUT]), "chain": files[CERTIFICATE].decode()}
            since = datetime.fromisoformat(answer["not_before"])
        except (KeyError, TypeError, ValueError) as error:
            raise Failed("The credential's files cannot be read.") from error
        return cls.of(files[KEY], files[ROOT], answer, since)

    @property
    def life(self) -> Life:
        """Its times, for `remit.upkeep`."""
        return Life(self.not_before, self.not_after, self.renew_after, self.since)

    @property
    def said(self) -> dict[str, Any]:
        """What the authority said of it, as its API writes that, without the certificates."""
        return {
            "serial": self.serial,
            "not_before": _rfc3339(self.not_before),
            "not_after": _rfc3339(self.not_after),
            "renew_after": _rfc3339(self.renew_after),
            "x5t#S256": self.x5t_s256,
            "spiffe_id": self.spiffe_id,
            "client_id": self.client_id,
            "task": self.task,
            "scope": self.scope,
            "resources": list(self.resources),
        }

    @property
    def contents(self) -> Contents:
        """For `remit.files.write`."""
        return Contents(self.key, self.chain, self.root, json.dumps(self.said, indent=2).encode() + b"\n")


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _check(key: bytes, chain: bytes) -> None:
    """Raises `ValueError` unless the first certificate is this key's."""
    ours = load_pem_private_key(key, None).public_key()
    leaf = x509.load_pem_x509_certificates(chain)[0].public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if ours.public_bytes(*form) != leaf.public_bytes(*form):
        raise ValueError("the certificate is another key's")
