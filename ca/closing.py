"""`python -m ca.closing REASON SHA256`: the ceremony that ends an authority, on its own machine.

The CA must be stopped. Who ends it names the issuing CA by its fingerprint: the wrong home ends nothing.
"""

from __future__ import annotations

import asyncio
import sys

from cryptography.hazmat.primitives.hashes import SHA256

from ca import assembly
from ca.authority import closing, hierarchy
from ca.config import Misconfigured, Settings
from ca.hsm import TokenFault
from ca.refusals import Reason, Refused
from ca.store import replicas
from ca.store.transaction import Database

ACTOR = "ceremony"


async def close(settings: Settings, reason: str, fingerprint: str) -> None:
    """The whole ceremony. Raises `Misconfigured`, `TokenFault`, `Refused`."""
    database, signer = Database(settings.database_url), assembly.signer(settings)
    try:
        found = hierarchy.load(database, settings.status_url)
        if found is None:
            raise Refused(Reason.NOT_FOUND, "There is no authority here.")
        root, issuer = found
        if issuer.certificate.fingerprint(SHA256()).hex() != fingerprint.replace(":", "").lower():
            raise Refused(Reason.CONFLICT, "This is not the fingerprint of the issuing CA here; nothing was done.")
        _check_stopped(database)
        signer.start()
        assembly.adopt(signer, root, issuer)
        authority = assembly.authority(settings, database, signer, root, issuer)
        try:
            await closing.close(authority, assembly.publisher(authority), closing.REASONS[reason], ACTOR)
        finally:
            authority.close()
    finally:
        signer.close()
        database.close()


def _check_stopped(database: Database) -> None:
    """Raises `Refused(CONFLICT)` while a replica lives: it would go on issuing."""
    with database.read() as connection:
        if replicas.leased(connection, assembly.clock()):
            raise Refused(
                Reason.CONFLICT,
                "The CA runs, or was killed a minute ago: stop it, and try again; nothing was done.",
            )


def main() -> int:
    """The command: exits 1 with one sentence when something is in the way."""
    reason, fingerprint = sys.argv[1:]
    try:
        asyncio.run(close(Settings.load(), reason, fingerprint))
    except (Misconfigured, TokenFault, Refused) as error:
        sys.stderr.write(f"remit: {error}\n")
        return 1
    sys.stdout.write("The root has revoked the issuing CA: nothing that it issued is to be trusted any more.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
