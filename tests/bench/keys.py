"""The issuing CA's key as the naive path and the floor use it: straight from the token, or from the file in memory.

Both sign with the very key of the home that ours signs with.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn

import pkcs11
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from softhsm.configuration import configuration_file
from softhsm.locate import find_module

KEPT = "keys.pem"
"""The file of a home in which its keys are, if they are not in a token."""

_LABEL = "issuing-1"
_END = b"-----END PRIVATE KEY-----\n"
_ATTEMPTS = 5
SigningKey = ec.EllipticCurvePrivateKey


class TokenKey(ec.EllipticCurvePrivateKey):
    """A P-256 key behind python-pkcs11, for cryptography's builders. One call at a time, as the module wants it."""

    def __init__(self, private: Any, public: ec.EllipticCurvePublicKey) -> None:
        self._private = private
        self._public = public
        self._lock = Lock()

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        with self._lock:
            raw = self._private.sign(sha256(data).digest(), mechanism=pkcs11.Mechanism.ECDSA)
        return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("the key does not leave the token")

    exchange = private_numbers = private_bytes = __copy__ = __deepcopy__ = _refuse


def open_key(home: Path, issuer: x509.Certificate) -> SigningKey:
    """The key of this issuer, where the home keeps it: in the file of keys in memory, or in SoftHSM."""
    public = issuer.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    if (home / KEPT).exists():
        return next(key for key in kept_keys(home) if key.public_key() == public)
    os.environ["SOFTHSM2_CONF"] = str(configuration_file(home / "token"))
    session = _token().open(user_pin=(home / "pin").read_text().strip())
    key = TokenKey(session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=_LABEL), public)
    public.verify(key.sign(b"test", ec.ECDSA(hashes.SHA256())), b"test", ec.ECDSA(hashes.SHA256()))
    return key


def kept_keys(home: Path) -> list[ec.EllipticCurvePrivateKey]:
    """Every private key in the home's file; none without the file."""
    if not (home / KEPT).exists():
        return []
    keys = [load_pem_private_key(one + _END, None) for one in (home / KEPT).read_bytes().split(_END)[:-1]]
    return [key for key in keys if isinstance(key, ec.EllipticCurvePrivateKey)]


def _token() -> pkcs11.Token:
    """The token. SoftHSM does not always see it when another process opens it in the same instant."""
    library = pkcs11.lib(str(find_module()))
    for _ in range(_ATTEMPTS):
        with suppress(pkcs11.NoSuchToken):
            return library.get_token(token_label="remit")
        library.reinitialize()
    return library.get_token(token_label="remit")
