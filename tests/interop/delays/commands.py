"""Command-line clients that fetch anew at each check: OpenSSL, GnuTLS, NSS."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from tests.interop.delays.client import Client, run, tool, verdict
from tests.interop.subject import fetch_crl, write

PUBLICATION = 5.0
VIEW = 1.0
LIST = "the age of the list that it has, published at once; here fetched for each check"
ANSWER = "the responder, asked at each check"


def find_openssl() -> str:
    """On macOS `openssl` is LibreSSL, and Homebrew's stands here. Raises `Missing`."""
    brewed = ("/opt/homebrew/opt/openssl@3/bin/openssl", "/usr/local/opt/openssl@3/bin/openssl")
    return tool("OpenSSL 3 (Debian: openssl, Homebrew: openssl@3)", *brewed, "openssl")


class Openssl(Client):
    name = "OpenSSL"

    def prepare(self) -> None:
        self.openssl = find_openssl()


class OpensslCrl(Openssl):
    mechanism, bound, seconds = "`openssl verify -crl_check`", LIST, PUBLICATION

    def accepts(self) -> bool:
        subject = self.agent.subject
        crl = write(self.agent.folder / "crl.pem", fetch_crl(subject.crl_url))
        chain = ("-CAfile", self.trust.root, "-untrusted", self.trust.issuing)
        said = run(self.openssl, "verify", "-x509_strict", "-crl_check", "-CRLfile", crl, *chain, subject.leaf)
        return verdict(said, accepted=f"{subject.leaf}: OK", revoked="lookup: certificate revoked")


class OpensslOcsp(Openssl):
    mechanism, bound, seconds = "`openssl ocsp`", ANSWER, VIEW

    def accepts(self) -> bool:
        subject = self.agent.subject
        chain = ("-CAfile", self.trust.root, "-issuer", self.trust.issuing)
        said = run(self.openssl, "ocsp", *chain, "-cert", subject.leaf, "-url", subject.ocsp_url)
        good, revoked = (f"Response verify OK\n{subject.leaf}: {word}" for word in ("good", "revoked"))
        return verdict(said, accepted=good, revoked=revoked)


class Certtool(Client):
    name, mechanism, bound, seconds = "GnuTLS", "`certtool --verify --load-crl`", LIST, PUBLICATION

    def prepare(self) -> None:
        # macOS has another program of the name certtool; Homebrew renames GnuTLS's.
        self.certtool = tool(GNUTLS, "gnutls-certtool", "certtool")

    def accepts(self) -> bool:
        subject = self.agent.subject
        crls = self.agent.folder / "crls.pem"
        # GnuTLS looks into one list of an issuer, and not at what that list says it covers.
        crls.write_bytes(self.trust.bundle())
        files = ("--load-ca-certificate", self.trust.root, "--load-crl", crls, "--infile", subject.presented)
        said = run(self.certtool, "--verify", "--verify-profile=medium", *files)
        return verdict(said, accepted="output: Verified. The certificate is trusted", revoked="chain is revoked")


class Ocsptool(Client):
    name, mechanism, bound, seconds = "GnuTLS", "`ocsptool --ask`", ANSWER, VIEW

    def prepare(self) -> None:
        self.ocsptool = tool(GNUTLS, "ocsptool")

    def accepts(self) -> bool:
        subject = self.agent.subject
        files = ("--load-cert", subject.leaf, "--load-issuer", self.trust.issuing, "--load-trust", self.trust.both)
        said = run(self.ocsptool, f"--ask={subject.ocsp_url}", "--nonce", *files)
        assert "Verifying OCSP Response: Success." in said, said
        return verdict(said, accepted="Certificate Status: good", revoked="Certificate Status: revoked")


class Nss(Client):
    """A database with the root trusted and the issuing CA known; vfychain judges by it as TLS would."""

    name = "NSS"

    def prepare(self) -> None:
        self.vfychain, certutil = tool(NSS, "vfychain"), tool(NSS, "certutil")
        self.database = f"sql:{self.agent.folder}"
        run(certutil, "-N", "-d", self.database, "--empty-password")
        run(certutil, "-A", "-d", self.database, "-n", "root", "-t", "CT,,", "-a", "-i", self.trust.root)
        run(certutil, "-A", "-d", self.database, "-n", "issuing", "-t", ",,", "-a", "-i", self.trust.issuing)

    def verify(self, *options: str | Path) -> bool:
        """For TLS clients (`-u 0`)."""
        said = run(self.vfychain, "-d", self.database, "-u", "0", *options, "-a", self.agent.subject.leaf)
        return verdict(said, accepted="Chain is good!", revoked="Certificate has been revoked.")


class NssCrl(Nss):
    """By the full list: NSS does not import one with a critical IssuingDistributionPoint."""

    mechanism, bound, seconds = "`crlutil -I` of the full list, `vfychain`", LIST, PUBLICATION

    def prepare(self) -> None:
        super().prepare()
        self.crlutil = tool(NSS, "crlutil")
        self.take("root", self.trust.root_url)

    def take(self, name: str, url: str) -> None:
        """Imports the list of the CA of this nickname."""
        # In place of the one before: NSS imports none whose thisUpdate is not later, and two may be of one second.
        run(self.crlutil, "-D", "-d", self.database, "-n", name)
        file = self.agent.folder / "crl.der"
        file.write_bytes(fetch_crl(url).public_bytes(Encoding.DER))
        said = run(self.crlutil, "-I", "-d", self.database, "-i", file)
        assert "unable" not in said, said

    def accepts(self) -> bool:
        self.take("issuing", self.trust.full_url)
        return self.verify()


class NssOcsp(Nss):
    mechanism, bound, seconds = "`vfychain -m ocsp -s failIfNoInfo`", ANSWER, VIEW

    def accepts(self) -> bool:
        return self.verify("-pp", "-g", "leaf", "-h", "requireFreshInfo", "-m", "ocsp", "-s", "failIfNoInfo")


GNUTLS = "GnuTLS's tools (Debian: gnutls-bin, Homebrew: gnutls)"
NSS = "NSS's tools (Debian: libnss3-tools, Homebrew: nss)"
