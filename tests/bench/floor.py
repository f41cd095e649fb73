"""The floor: what cryptography alone costs. Nothing that issues certificates of this kind can be faster on one core.

One process runs one loop. For each CSR it parses the DER and verifies the proof of possession with
cryptography, and signs a TBSCertificate of an agent's profile (SHA-256, ECDSA P-256) with the issuing
CA's key: in SoftHSM through python-pkcs11, or in memory. No HTTP, no database, no policy, no lint, no
second process. The CSRs are those that the load generator sends; the key is the one that ours signs
with; it runs on the same cores, between the measurements of the servers.

    python -m tests.bench.floor HOME CSRS SECONDS     prints how many a second
"""

from __future__ import annotations

import subprocess
import sys
import time
from base64 import b64decode
from itertools import cycle
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.bench.contents import Profile
from tests.bench.keys import SigningKey, open_key

_ALGORITHM = ec.ECDSA(hashes.SHA256())


def measure(home: Path, csrs: Path, seconds: float, processes: int = 1) -> float:
    """Certificates a second, of that many processes together."""
    command = [sys.executable, "-m", "tests.bench.floor", str(home), str(csrs), str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise RuntimeError("the floor could not be measured; its words are above")
    return sum(map(float, said))


def rate(key: SigningKey, tbs: bytes, requests: list[bytes], seconds: float) -> float:
    """The loop itself."""
    start = time.perf_counter()
    for done, der in enumerate(cycle(requests), 1):
        if not x509.load_der_x509_csr(der).is_signature_valid:
            raise ValueError("a CSR that proves nothing")
        key.sign(tbs, _ALGORITHM)
        if (passed := time.perf_counter() - start) >= seconds:
            return done / passed
    raise ValueError("no CSR was given")


def main() -> int:
    """Prints the rate."""
    home, csrs, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    _, issuer = x509.load_pem_x509_certificates((home / "tls" / "tls.crt").read_bytes())
    requests = [b64decode(line) for line in csrs.read_text().split()]
    holder, in_memory = x509.load_der_x509_csr(requests[0]).public_key(), ec.generate_private_key(ec.SECP256R1())
    tbs = Profile(issuer, "http://127.0.0.1:8080").sign("agent-0000", holder, in_memory).tbs_certificate_bytes
    key = open_key(home, issuer)
    rate(key, tbs, requests, 0.1)
    print(rate(key, tbs, requests, seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
