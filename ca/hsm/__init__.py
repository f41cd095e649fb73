"""SHELL. The token: every PKCS#11 call of a process, made by the one thread of its `Owner`, or by its threads.

Owns opening the module, logging in, finding, checking and generating keys, signing, and coming
back after a loss. Private keys never leave the token, so none is ever here; X.509, SQL, HTTP and
the place where a PIN is kept are other rooms' business. `authority` and `ocsp` see the `Signer`
of this page; the servers and the ceremony, which build things, also import `ca.hsm.owner`.
"""

from ca.hsm.signer import Health, KeyKind, Signer, State, TokenFault

__all__ = ["Health", "KeyKind", "Signer", "State", "TokenFault"]
