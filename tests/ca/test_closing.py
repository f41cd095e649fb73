"""The ceremony that ends an authority: by the root, on its own machine, and by nobody's call."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.world import World


@pytest.mark.slow
def test_the_root_revokes_the_issuing_ca_and_what_it_issued_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path).init().start()
    try:
        leaf, issuing = chain(world.enrol().cert)
        fingerprint = issuing.fingerprint(SHA256()).hex()
        running = world.cli("close", "--reason", "cACompromise", "--fingerprint", fingerprint)
        assert (running.returncode, "The CA runs" in running.stderr) == (1, True)
        world.stop()
        wrong = world.cli("close", "--reason", "cACompromise", "--fingerprint", "00" * 32)
        assert (wrong.returncode, "not the fingerprint" in wrong.stderr) == (1, True)
        assert verified(world, tmp_path, leaf, issuing), "nothing was done"

        closed = world.cli("close", "--reason", "cACompromise", "--fingerprint", fingerprint)
        assert (closed.returncode, closed.stderr) == (0, "")
        again = world.cli("close", "--reason", "superseded", "--fingerprint", fingerprint)
        assert again.returncode == 0, "said twice, the first word counts"
        refused = world.run_server()
        assert (refused.returncode, "was revoked by its root" in refused.stderr) == (1, True)
        assert not verified(world, tmp_path, leaf, issuing)
        [entry] = lists(world)[1]
        assert entry.serial_number == issuing.serial_number
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        assert reason is x509.ReasonFlags.ca_compromise
    finally:
        world.stop()


def chain(file: Path) -> tuple[x509.Certificate, x509.Certificate]:
    leaf, issuing = x509.load_pem_x509_certificates(file.read_bytes())
    return leaf, issuing


def lists(world: World) -> list[x509.CertificateRevocationList]:
    """What the status service, which runs on without the CA, serves: the issuing CA's list and the root's."""
    with world.another_status_service() as url, httpx2.Client(base_url=url, trust_env=False) as anyone:
        served = [anyone.get(f"/crl/{name}.crl").content for name in ("issuing-1", "root-1")]
    return [x509.load_der_x509_crl(der) for der in served]


def verified(world: World, directory: Path, leaf: x509.Certificate, issuing: x509.Certificate) -> bool:
    """Whether OpenSSL accepts the leaf, every level checked."""
    files = {"leaf": [leaf], "issuing": [issuing], "crls": lists(world)}
    for name, objects in files.items():
        (directory / f"{name}.pem").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in objects))  # type: ignore[attr-defined]
    command = ["openssl", "verify", "-crl_check_all", "-CAfile", str(world.root_pem), "-untrusted", "issuing.pem"]
    done = subprocess.run(
        [*command, "-CRLfile", "crls.pem", "leaf.pem"], cwd=directory, capture_output=True, check=False, timeout=30
    )
    return done.returncode == 0
