"""From a builder to the exact bytes that will be signed, and from a signature to the finished object.

cryptography's builders do the DER; the key they are given here only records what it is asked to
sign. So the ToBeSigned exists, can be linted and committed to the database before the key in the
token is used, and what comes back is verified before it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from ca.pki.keys import InvalidSignature, PublicKey, hash_for, verify

__all__ = ["InvalidSignature", "ToBeSigned", "assemble", "draft", "recording_key", "seal", "tbs_of"]

Builder = x509.CertificateBuilder | x509.CertificateRevocationListBuilder


@dataclass(frozen=True, slots=True)
class ToBeSigned:
    """The exact bytes for the signer, and the AlgorithmIdentifier that will stand beside the signature."""

    tbs: bytes
    algorithm: bytes


@asn1.sequence
class _Signed:
    """`SEQUENCE { tbs, signatureAlgorithm, signature BIT STRING }`: RFC 5280 4.1 and 5.1."""

    tbs: asn1.TLV
    algorithm: asn1.TLV
    signature: asn1.BitString


class _Recorder:
    """What the recording keys share: they sign nothing and remember what they were asked to sign."""

    def __init__(self, public: Any) -> None:
        self.recorded = b""
        self._public = public

    def sign(self, data: Any, *_: Any, **__: Any) -> bytes:
        """Remembers `data`; the answer is a placeholder that never leaves `draft`."""
        self.recorded = bytes(data)
        return b"\x00"

    def public_key(self) -> Any:
        """The public half, which is all there is."""
        return self._public

    @property
    def key_size(self) -> Any:
        """As the public key says."""
        return self._public.key_size

    @property
    def curve(self) -> Any:
        """As the public key says."""
        return self._public.curve

    def _refuse(self, *_: object) -> NoReturn:
        raise NotImplementedError("a recording key has no private half")

    exchange = decrypt = private_numbers = private_bytes = private_bytes_raw = sign_mu = __copy__ = __deepcopy__ = (
        _refuse
    )


# The builders ask for an instance of the abstract class of each kind; the recorder comes first, so
# that it is the recorder that fills the abstract methods.
class _RecordingEllipticCurveKey(_Recorder, ec.EllipticCurvePrivateKey):
    pass


class _RecordingEd25519Key(_Recorder, ed25519.Ed25519PrivateKey):
    pass


class _RecordingRsaKey(_Recorder, rsa.RSAPrivateKey):
    pass


class _RecordingMlDsa44Key(_Recorder, mldsa.MLDSA44PrivateKey):
    pass


class _RecordingMlDsa65Key(_Recorder, mldsa.MLDSA65PrivateKey):
    pass


class _RecordingMlDsa87Key(_Recorder, mldsa.MLDSA87PrivateKey):
    pass


_RecordingMlDsaKey = _RecordingMlDsa44Key | _RecordingMlDsa65Key | _RecordingMlDsa87Key
RecordingKey = _RecordingEllipticCurveKey | _RecordingEd25519Key | _RecordingRsaKey | _RecordingMlDsaKey


# Any builder would do: only the algorithm that the library writes beside the signature is wanted.
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_SPECIMEN = x509.CertificateRevocationListBuilder(x509.Name([]), _EPOCH, _EPOCH)


def recording_key(public_key: PublicKey) -> RecordingKey:
    """A stand-in for the private half of `public_key` that records what a builder asks it to sign."""
    match public_key:
        case ec.EllipticCurvePublicKey():
            return _RecordingEllipticCurveKey(public_key)
        case ed25519.Ed25519PublicKey():
            return _RecordingEd25519Key(public_key)
        case rsa.RSAPublicKey():
            return _RecordingRsaKey(public_key)
        case mldsa.MLDSA44PublicKey():
            return _RecordingMlDsa44Key(public_key)
        case mldsa.MLDSA65PublicKey():
            return _RecordingMlDsa65Key(public_key)
        case mldsa.MLDSA87PublicKey():
            return _RecordingMlDsa87Key(public_key)


def draft(builder: Builder, public_key: PublicKey) -> ToBeSigned:
    """The ToBeSigned that `builder` makes for the signer with this public key."""
    key = recording_key(public_key)
    unsigned = builder.sign(key, hash_for(public_key))
    algorithm = asn1.decode_der(_Signed, unsigned.public_bytes(Encoding.DER)).algorithm
    return ToBeSigned(tbs=key.recorded, algorithm=asn1.encode_der(algorithm))


def algorithm_identifier(public_key: PublicKey) -> bytes:
    """The AlgorithmIdentifier in DER that stands beside this key's signatures (RFC 5280 4.1.1.2)."""
    return draft(_SPECIMEN, public_key).algorithm


def seal(to_be_signed: ToBeSigned, signature: bytes, public_key: PublicKey) -> bytes:
    """The finished certificate or CRL in DER, after the signature was verified over the very bytes.

    Raises `InvalidSignature`; nothing is returned that the public key does not vouch for.
    """
    verify(public_key, signature, to_be_signed.tbs)
    return assemble(to_be_signed, signature)


def tbs_of(der: bytes) -> bytes:
    """What was signed of a finished certificate or CRL, however long, without reading on. Raises `ValueError`."""
    return asn1.encode_der(asn1.decode_der(_Signed, der).tbs)


def assemble(to_be_signed: ToBeSigned, signature: bytes) -> bytes:
    """The outer SEQUENCE in DER, the signature taken as it is: for bytes that were sealed before."""
    return asn1.encode_der(
        _Signed(
            tbs=asn1.decode_der(asn1.TLV, to_be_signed.tbs),
            algorithm=asn1.decode_der(asn1.TLV, to_be_signed.algorithm),
            signature=asn1.BitString(signature, 0),
        )
    )
