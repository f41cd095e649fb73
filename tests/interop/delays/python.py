"""Python: the request and the answer by cryptography, the way by httpx2."""

from __future__ import annotations

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.interop.delays.client import Client
from tests.interop.delays.commands import ANSWER, VIEW


class PythonOcsp(Client):
    """Believes an answer whose signature is of a responder that the issuing CA named, and that is of today."""

    name, mechanism, bound, seconds = "Python", "`cryptography.x509.ocsp`, httpx2", ANSWER, VIEW

    def prepare(self) -> None:
        leaf = self.agent.subject.certificate
        self.issuer = x509.load_pem_x509_certificate(self.trust.issuing.read_bytes())
        self.request = ocsp.OCSPRequestBuilder().add_certificate(leaf, self.issuer, hashes.SHA256()).build()
        self.http = self.ends.enter_context(httpx2.Client(trust_env=False))

    def accepts(self) -> bool:
        answered = self.http.post(
            self.agent.subject.ocsp_url,
            content=self.request.public_bytes(Encoding.DER),
            headers={"Content-Type": "application/ocsp-request"},
        )
        answer = ocsp.load_der_ocsp_response(answered.raise_for_status().content)
        self._check_signature(answer)
        assert answer.serial_number == self.agent.subject.certificate.serial_number
        assert answer.certificate_status in (ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED)
        return answer.certificate_status is ocsp.OCSPCertStatus.GOOD

    def _check_signature(self, answer: ocsp.OCSPResponse) -> None:
        (responder,) = answer.certificates
        responder.verify_directly_issued_by(self.issuer)
        purposes = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert x509.ExtendedKeyUsageOID.OCSP_SIGNING in purposes
        key, algorithm = responder.public_key(), answer.signature_hash_algorithm
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert algorithm is not None
        key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(algorithm))
