"""The second implementation of `ca.hsm.Signer`: keys in memory, for tests that are not about a token.

It signs on the spot, counts what it signed, and can be taken down, so that a test can say "nothing
was signed" and "the token is gone" in one line each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa

from ca.hsm import Health, KeyKind, State, TokenFault
from ca.pki.keys import PublicKey, hash_for, spki

MlDsaPrivateKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | MlDsaPrivateKey

_ML_DSA: dict[KeyKind, Callable[[], MlDsaPrivateKey]] = {
    KeyKind.ML_DSA_44: mldsa.MLDSA44PrivateKey.generate,
    KeyKind.ML_DSA_65: mldsa.MLDSA65PrivateKey.generate,
    KeyKind.ML_DSA_87: mldsa.MLDSA87PrivateKey.generate,
}


class MemorySigner:
    """Keys live as long as the object. `signed` holds every message that was signed; `down` is the fault, if any."""

    def __init__(self) -> None:
        self.signed: list[bytes] = []
        self.down: str | None = None
        self._keys: dict[bytes, PrivateKey] = {}
        self._adopted: set[bytes] = set()
        self.distrusted: dict[bytes, str] = {}

    def generate(self, label: str, kind: KeyKind = KeyKind.P256) -> PublicKey:
        """A new key, adopted."""
        self._require_up()
        private = _private_key(kind)
        public = private.public_key()
        self._keys[spki(public)] = private
        self.adopt(label, public)
        return public

    def adopt(self, label: str, public_key: PublicKey) -> None:
        """Knows the keys that it generated, no others."""
        self._require_up()
        if spki(public_key) not in self._keys:
            raise TokenFault(f"The key {label!r} in the token is missing, by its public half; restore the right token.")
        self._adopted.add(spki(public_key))

    def sign(self, public_key: PublicKey, messages: Sequence[bytes]) -> Future[list[bytes]]:
        """A future that is done already."""
        future: Future[list[bytes]] = Future()
        try:
            self._require_up()
            future.set_result(self._sign(spki(public_key), messages))
        except TokenFault as fault:
            future.set_exception(fault)
        return future

    def distrust(self, public_key: PublicKey, why: str) -> None:
        """Out of service until a test takes the key out of `distrusted`."""
        if spki(public_key) in self._adopted:
            self.distrusted[spki(public_key)] = why

    def health(self) -> Health:
        """Up, unless it was taken down."""
        if self.down:
            return Health(State.DOWN, self.down)
        for why in self.distrusted.values():
            return Health(State.DEGRADED, why)
        return Health(State.UP, "Keys are in memory.")

    def _require_up(self) -> None:
        if self.down:
            raise TokenFault(self.down)

    def _sign(self, name: bytes, messages: Sequence[bytes]) -> list[bytes]:
        if name not in self._adopted:
            raise TokenFault("The key was not adopted by this process; nothing was signed.")
        if name in self.distrusted:
            raise TokenFault(f"The key is out of service ({self.distrusted[name]}); nothing was signed.")
        self.signed += messages
        return [_signature(self._keys[name], message) for message in messages]


def _private_key(kind: KeyKind) -> PrivateKey:
    match kind:
        case KeyKind.P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyKind.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyKind.RSA_2048 | KeyKind.RSA_3072 | KeyKind.RSA_4096:
            return rsa.generate_private_key(65537, int(kind.removeprefix("RSA-")))
        case KeyKind.ML_DSA_44 | KeyKind.ML_DSA_65 | KeyKind.ML_DSA_87:
            return _ML_DSA[kind]()


def _signature(key: PrivateKey, message: bytes) -> bytes:
    algorithm = hash_for(key.public_key())
    match key:
        case ed25519.Ed25519PrivateKey():
            return key.sign(message)
        case mldsa.MLDSA44PrivateKey() | mldsa.MLDSA65PrivateKey() | mldsa.MLDSA87PrivateKey():
            return key.sign(message)
        case ec.EllipticCurvePrivateKey():
            assert algorithm is not None
            return key.sign(message, ec.ECDSA(algorithm))
        case rsa.RSAPrivateKey():
            assert algorithm is not None
            return key.sign(message, padding.PKCS1v15(), algorithm)
