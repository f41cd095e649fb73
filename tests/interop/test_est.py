"""EST by clients that exist: curl with OpenSSL, strongSwan, BouncyCastle, GlobalSign's in Go; the programs are in est/.

Each fetches the CA's certificates, enrols with a one-time token, and renews over mTLS with what it got.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

PROGRAMS = Path(__file__).with_name("est")
JARS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "remit" / "est"
STRONGSWAN = "strongSwan's pki with its openssl plugin (Debian: strongswan-pki, libstrongswan-standard-plugins)"
PKCS10 = "Content-Type: application/pkcs10"

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Agent:
    """One that is registered, with a token, a directory of its own, and the authority it enrols at."""

    name: str
    token: str
    here: Path
    url: str
    root: Path
    issuing: Path

    @property
    def subject(self) -> tuple[str, str, str]:
        return ("O=Remit", "OU=default", f"CN={self.name}")

    @property
    def spiffe_id(self) -> str:
        return f"spiffe://agents.example/agent/default/{self.name}"

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]


@pytest.fixture
def agent(world: Any, tmp_path: Path) -> Agent:
    name = world.new_agent()
    with world.client() as client:
        chain = x509.load_pem_x509_certificates(client.get("/ca/chain.pem").content)
        issuing = tmp_path / "issuing.pem"
        issuing.write_bytes(chain[0].public_bytes(Encoding.PEM))
    return Agent(name, world.token(name), tmp_path, world.api_url, world.root_pem, issuing)


def read(pem: str | Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem.read_bytes() if isinstance(pem, Path) else pem.encode())


def check_authorities(agent: Agent, told: list[x509.Certificate]) -> None:
    assert set(told) == {*read(agent.root), *read(agent.issuing)}


def check_certificates(agent: Agent, enrolled: x509.Certificate, renewed: x509.Certificate) -> None:
    """Both the agent's own, by the issuing CA, for two keys."""
    (issuing,) = read(agent.issuing)
    for one in (enrolled, renewed):
        one.verify_directly_issued_by(issuing)
        names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(names) == [x509.UniformResourceIdentifier(agent.spiffe_id)]
    assert enrolled.subject == renewed.subject
    assert enrolled.serial_number != renewed.serial_number
    assert enrolled.public_key() != renewed.public_key()


# curl and OpenSSL, as a shell script would use them.


@dataclass(frozen=True)
class Shell:
    """The two commands in an agent's directory."""

    agent: Agent
    run: Callable[..., Done]
    curl_path: str
    openssl_path: str

    def curl(self, operation: str, *options: str | Path) -> Done:
        """The body on standard output, whatever its status; the exit status tells of a refusal."""
        url = f"{self.agent.url}/.well-known/est/{operation}"
        return self.run(self.curl_path, "-sS", "--fail-with-body", "--cacert", self.agent.root, *options, url)

    def openssl(self, *words: str | Path) -> str:
        done = self.run(self.openssl_path, *words, cwd=self.agent.here)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def request(self, name: str, *options: str) -> Path:
        """A new key NAME.key and its request NAME.csr, in PEM."""
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key")
        self.openssl("req", "-new", *new, *(options or ("-subj", "/")), "-out", f"{name}.csr")
        return self.agent.here / f"{name}.csr"

    def certificates(self, answer: str, name: str) -> list[x509.Certificate]:
        """What `base64 -d | openssl pkcs7` makes of an answer, and in NAME.crt."""
        (self.agent.here / f"{name}.b64").write_text(answer)
        self.openssl("base64", "-d", "-A", "-in", f"{name}.b64", "-out", f"{name}.p7")
        self.openssl("pkcs7", "-inform", "DER", "-in", f"{name}.p7", "-print_certs", "-out", f"{name}.crt")
        return read(self.agent.here / f"{name}.crt")

    def enrol(self, operation: str, name: str, *options: str | Path) -> list[x509.Certificate]:
        """With the request NAME.csr; the certificate is in NAME.crt."""
        done = self.curl(operation, "-H", PKCS10, "--data-binary", f"@{self.agent.here / name}.csr", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.certificates(done.stdout, name)

    def credential(self, name: str) -> tuple[str | Path, ...]:
        """Options for mTLS."""
        return ("--cert", self.agent.here / f"{name}.crt", "--key", self.agent.here / f"{name}.key")


@pytest.fixture
def shell(agent: Agent, run: Any, find_tool: Any, openssl: str) -> Shell:
    return Shell(agent, run, find_tool("curl", install="curl"), openssl)


def test_curl_and_openssl(shell: Shell) -> None:
    agent = shell.agent
    check_authorities(agent, shell.certificates(shell.curl("cacerts").stdout, "cacerts"))
    shell.request("first")
    (enrolled,) = shell.enrol("simpleenroll", "first", "--user", f"{agent.name}:{agent.token}")
    names = ("-subj", "/" + "/".join(agent.subject), "-addext", f"subjectAltName=URI:{agent.spiffe_id}")
    shell.request("second", *names)
    (renewed,) = shell.enrol("simplereenroll", "second", *shell.credential("first"))
    check_certificates(agent, enrolled, renewed)
    shell.openssl("verify", "-CAfile", agent.root, "-untrusted", agent.issuing, "-purpose", "sslclient", "second.crt")


FORMS = {
    "PEM": (),
    "DER": ("req", "-in", "a.csr", "-outform", "DER", "-out", "a.csr"),
    "base64 of 64 columns": ("base64", "-in", "a.der", "-out", "a.csr"),
    "one line of base64": ("base64", "-A", "-in", "a.der", "-out", "a.csr"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_curl_sends_what_openssl_writes(shell: Shell, form: tuple[str, ...]) -> None:
    shell.request("a")
    shell.openssl("req", "-in", "a.csr", "-outform", "DER", "-out", "a.der")
    if form:
        shell.openssl(*form)
    assert len(shell.enrol("simpleenroll", "a", "--oauth2-bearer", shell.agent.token)) == 1


def test_curl_keeps_its_password_until_it_is_asked(shell: Shell) -> None:
    shell.request("a")
    assert len(shell.enrol("simpleenroll", "a", "--anyauth", "--user", f":{shell.agent.token}")) == 1


def test_curl_is_refused_in_words(shell: Shell, world: Any) -> None:
    shell.request("a")
    shell.enrol("simpleenroll", "a", "--user", f":{shell.agent.token}")
    csr = shell.request("b")
    sent = ("-H", PKCS10, "--data-binary", f"@{csr}")
    spent = shell.curl("simpleenroll", "--user", f":{shell.agent.token}", *sent)
    assert (spent.returncode, spent.stdout.count("\n")) == (22, 1)
    assert "it is unknown, spent, expired" in spent.stdout
    stranger = shell.curl("simplereenroll", *sent)
    assert (stranger.returncode, "client certificate" in stranger.stdout) == (22, True)
    (leaf,) = read(shell.agent.here / "a.crt")
    assert world.cli("revoke", f"{leaf.serial_number:038x}").returncode == 0
    revoked = shell.curl("simplereenroll", *shell.credential("a"), *sent)
    assert (revoked.returncode, "not a live one" in revoked.stdout) == (22, True)


# strongSwan.


@dataclass(frozen=True)
class Pki:
    """strongSwan's command, for one agent."""

    agent: Agent
    run: Callable[..., Done]
    path: str

    def __call__(self, *words: str | Path) -> Done:
        return self.run(self.path, *words)

    def made(self, *words: str | Path) -> str:
        done = self(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def request(self, name: str) -> Path:
        """A new key NAME.key, and its request; strongSwan 5.9 can put no URI in it, and wants a subject."""
        key, csr = self.agent.here / f"{name}.key", self.agent.here / f"{name}.csr"
        key.write_text(self.made("--gen", "--type", "ecdsa", "--size", "256", "--outform", "pem"))
        subject = ", ".join(self.agent.subject)
        csr.write_text(self.made("--req", "--type", "priv", "--in", key, "--dn", subject, "--outform", "pem"))
        return csr

    def est(self, csr: Path, *options: str | Path) -> Done:
        trust = ("--cacert", self.agent.root, "--cacert", self.agent.issuing)
        return self("--est", "--url", self.agent.url, *trust, "--in", csr, "--outform", "pem", *options)


@pytest.fixture
def pki(agent: Agent, run: Any, find_tool: Any) -> Pki:
    path = find_tool("pki", install=STRONGSWAN)
    loaded = next((line for line in run(path, "--help").stdout.splitlines() if line.startswith("loaded plugins")), "")
    if "openssl" not in loaded.split():
        pytest.skip(f"{path} knows no elliptic curves; install {STRONGSWAN}")
    return Pki(agent, run, path)


def test_strongswan(pki: Pki) -> None:
    agent = pki.agent
    out = agent.here / "ca.pem"
    pki.made("--estca", "--url", agent.url, "--cacert", agent.root, "--caout", out, "--outform", "pem")
    check_authorities(agent, [*read(out), *read(agent.here / "ca-1.pem")])
    done = pki.est(pki.request("first"), "--userpass", f"{agent.name}:{agent.token}")
    assert done.returncode == 0, done.stderr
    assert "Issued certificate is trusted" in done.stderr
    (agent.here / "first.crt").write_text(done.stdout)
    credential = ("--cert", agent.here / "first.crt", "--key", agent.here / "first.key")
    again = pki.est(pki.request("second"), *credential)
    assert again.returncode == 0, again.stderr
    (enrolled,), (renewed,) = read(done.stdout), read(again.stdout)
    check_certificates(agent, enrolled, renewed)
    spent = pki.est(pki.request("third"), "--userpass", f"{agent.name}:{agent.token}")
    assert spent.returncode == 1
    assert "EST request failed: HTTP 401" in spent.stderr


# BouncyCastle and GlobalSign's client do it all in one run.


def check_run(agent: Agent, done: Done) -> None:
    """Each step's name and its certificates; and the token opened once."""
    assert done.returncode == 0, done.stdout + done.stderr
    steps: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if line.split(" ")[0] in ("cacerts", "csrattrs", "simpleenroll", "simplereenroll", "refused"):
            steps[line] = []
        else:
            steps[list(steps)[-1]].append(line)
    *names, refused = steps
    assert names == ["cacerts", "csrattrs false", "simpleenroll", "simplereenroll"], done.stdout
    assert refused.startswith("refused 401: ")
    assert "it is unknown, spent, expired" in refused
    told, enrolled, renewed = (read("\n".join(steps[name])) for name in names if " " not in name)
    check_authorities(agent, told)
    assert (len(enrolled), len(renewed)) == (1, 1)
    check_certificates(agent, enrolled[0], renewed[0])


@pytest.fixture(scope="module")
def bouncycastle(find_tool: Any, run: Any) -> str:
    """A class path. The jars are fetched once, and are what they were when this was written."""
    lines = (PROGRAMS / "SHA256SUMS").read_text().splitlines()
    wanted = {JARS / name: digest for digest, name in (line.split() for line in lines)}
    if {jar: digest_of(jar) for jar in wanted} != wanted:
        for jar in wanted:
            jar.unlink(missing_ok=True)  # Maven leaves alone what is there, whole or not
        maven = find_tool("mvn", install="Maven (Debian and Homebrew: maven)")
        copy = ("dependency:copy-dependencies", f"-DoutputDirectory={JARS}")
        fetched = run(maven, "-q", "-B", "-f", PROGRAMS / "pom.xml", *copy)
        if fetched.returncode != 0:
            pytest.skip(f"BouncyCastle is not here and could not be fetched: {fetched.stdout.strip()}")
    assert {jar: digest_of(jar) for jar in wanted} == wanted
    return os.pathsep.join(map(str, wanted))


def digest_of(jar: Path) -> str | None:
    return sha256(jar.read_bytes()).hexdigest() if jar.exists() else None


def test_bouncycastle(java: str, run: Any, bouncycastle: str, agent: Agent) -> None:
    arguments = ("localhost", agent.port, agent.root, agent.name, agent.token)
    check_run(agent, run(java, "-cp", bouncycastle, PROGRAMS / "Est.java", *arguments))


@pytest.fixture(scope="module")
def globalsign(find_tool: Any, run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program; what it is made from is fetched at the first run and checked against go.sum."""
    go = find_tool("go", install="Go 1.19 or later (Debian: golang-go, Homebrew: go)")
    settings = {"env": {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"}}
    fetched = run(go, "mod", "download", cwd=PROGRAMS / "go", **settings)
    if fetched.returncode != 0:
        pytest.skip(f"github.com/globalsign/est is not here and could not be fetched: {fetched.stderr.strip()}")
    program = tmp_path_factory.mktemp("est") / "est"
    built = run(go, "build", "-o", program, ".", cwd=PROGRAMS / "go", **settings)
    assert built.returncode == 0, built.stderr
    return program


def test_globalsign(run: Any, globalsign: Path, agent: Agent) -> None:
    check_run(agent, run(globalsign, f"localhost:{agent.port}", agent.root, agent.name, agent.token))
