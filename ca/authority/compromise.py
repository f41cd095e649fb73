"""A key that is out, shown by whoever has it: signed with the key itself, so nobody needs to be believed."""

from __future__ import annotations

from dataclasses import replace

from cryptography import x509
from cryptography.x509.oid import NameOID

from ca.authority import revoke
from ca.authority.authority import Authority
from ca.identifiers import Thumbprint
from ca.pki.csr import CertificateRequest
from ca.refusals import Reason, Refused
from ca.store import blocked_keys
from ca.store.filters import Filter
from ca.store.stillness import Stillness
from ca.store.transaction import Connection

PROOF = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Proof of Key Compromise")])
"""The subject that says so. No request for a certificate has it, so none can be taken for a proof."""

HOLDER = "holder of the key"
"""Who acts, in the audit trail."""


def revoke_proven(authority: Authority, request: CertificateRequest) -> Thumbprint:
    """Revokes everything of the key that signed this request, and blocks it; the key's SHA-256.

    A key that was never certified here is passed over in silence: strangers do not fill the table.
    Raises `Refused(MALFORMED)` for a request with another subject.
    """
    if request.subject != PROOF:
        raise Refused(Reason.MALFORMED, f"The CSR's subject must be {PROOF.rfc4514_string()}, and nothing else.")
    key = request.key_thumbprint

    wanted = Filter(key=key)

    def act(connection: Connection) -> None:
        order = revoke.order_of(authority, x509.ReasonFlags.key_compromise, HOLDER)
        revoke.revoke_within(connection, wanted, replace(order, detail={"proof": "signature"}))

    with authority.database.read() as connection:
        revoke.check_not_own(connection, wanted)
        # Whoever says it again, or of a key that is nothing here, keeps nobody waiting. A blocked key has nothing live.
        to_do = blocked_keys.were_certified(connection, key) and not blocked_keys.blocked(connection, [key])
    if to_do:
        authority.database.write(act, Stillness.EVERYTHING).result()
    return key
