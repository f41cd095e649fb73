from __future__ import annotations

import asyncio
from base64 import b64encode, urlsafe_b64encode
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from ca.identifiers import Thumbprint
from ca.pki import keys
from ca.proofs import jwt, x5c
from ca.proofs.jwt import Unfit
from ca.proofs.providers import Away
from ca.proofs.x5c import X5c
from tests.ca.proofs.house import CSR_KEY, JKT, attested, refused
from tests.ca.proofs.issuer import AUDIENCE, NOW
from tests.ca.proofs.pki import PrivateKey, assertion, attribute, certificate, new_key

URI, DNS = x509.UniformResourceIdentifier, x509.DNSName
SPIFFE = URI("spiffe://fleet.example/planner")
CNF = {"jkt": JKT}

ROOT = certificate("CN=Fleet root", ca=True)
ISSUING = certificate("CN=Fleet issuing", ROOT, ca=True)
STRANGERS_ROOT = certificate("CN=Fleet root", ca=True)
LEAF = certificate("CN=planner", ISSUING, names=[SPIFFE])
ABOVE = ISSUING.certificate


def fleet(**rules: Any) -> X5c:
    return X5c(x5c.Rules(**({"name": "fleet", "audience": AUDIENCE} | rules)), x5c.roots(_pem(ROOT.certificate)))


def _pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def test_a_certificate_attests_its_name() -> None:
    found = attested(assertion(LEAF, ABOVE, cnf=CNF), fleet())
    thumbprint = Thumbprint.of(LEAF.certificate.public_bytes(Encoding.DER))
    assert (found.provider, found.issuer, found.subject) == ("fleet", "x5c:fleet", SPIFFE.value)
    assert found.key == keys.thumbprint(CSR_KEY)
    assert found.expires == NOW.replace(microsecond=0) + timedelta(seconds=120) + jwt.LEEWAY
    assert found.once == Thumbprint.of(f'["fleet", "{thumbprint.hex}", "1"]'.encode())
    assert found.extra == {"serial": f"{LEAF.certificate.serial_number:x}", "x5t#S256": thumbprint.base64url}


def test_the_jti_is_the_holders_own() -> None:
    other = certificate("CN=worker", ISSUING, names=[SPIFFE])
    ones = [attested(assertion(one, ABOVE, cnf=CNF), fleet()).once for one in (LEAF, LEAF, other)]
    assert ones[0] == ones[1] != ones[2]


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (rsa.generate_private_key(65537, 2048), "RS256"),
        (rsa.generate_private_key(65537, 2048), "PS256"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
    ],
    ids=["P-256", "P-384", "RSA", "RSA-PSS", "EdDSA", "Ed25519"],
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_every_kind_of_key_that_signs(key: PrivateKey, alg: str) -> None:
    leaf = certificate("CN=planner", ISSUING, key=key, names=[SPIFFE])
    assert attested(assertion(leaf, ABOVE, alg=alg, cnf=CNF), fleet()).subject == SPIFFE.value


def test_a_root_may_issue_itself_and_stand_in_the_chain() -> None:
    direct = certificate("CN=planner", ROOT, names=[SPIFFE])
    assert attested(assertion(direct, cnf=CNF), fleet())
    assert attested(assertion(LEAF, ABOVE, ROOT.certificate, cnf=CNF), fleet())


NAMES: dict[str, tuple[str, list[x509.GeneralName], str]] = {
    "a URI": ("CN=planner", [SPIFFE], SPIFFE.value),
    "a URI before others": ("CN=planner", [DNS("a.example"), SPIFFE, x509.RFC822Name("a@b.example")], SPIFFE.value),
    "a URI and no subject": ("", [SPIFFE], SPIFFE.value),
    "a DNS name": ("CN=planner", [DNS("planner.fleet.example")], "planner.fleet.example"),
    "a subject": ("CN=planner,OU=agents,O=Fleet", [], "CN=planner,OU=agents,O=Fleet"),
    "a subject beside an address": ("CN=planner", [x509.RFC822Name("a@b.example")], "CN=planner"),
    "a subject that needs escapes": ("CN=a\\,b\\+c,O=F", [], "CN=a\\,b\\+c,O=F"),
}


@pytest.mark.parametrize(("subject", "names", "known"), NAMES.values(), ids=NAMES.keys())
def test_the_one_name_of_a_certificate(subject: str, names: list[x509.GeneralName], known: str) -> None:
    leaf = certificate(subject, ISSUING, names=names)
    for sub in (None, known):
        assert attested(assertion(leaf, ABOVE, cnf=CNF, sub=sub), fleet()).subject == known
    for sub in ("other", "", known + " ", known.upper(), [known]):
        assert refused(assertion(leaf, ABOVE, cnf=CNF, sub=sub), fleet())


NAMELESS: dict[str, tuple[str, list[x509.GeneralName]]] = {
    "two URIs": ("CN=planner", [SPIFFE, URI("spiffe://fleet.example/other")]),
    "one URI twice": ("CN=planner", [SPIFFE, SPIFFE]),
    "two DNS names": ("CN=planner", [DNS("a.example"), DNS("b.example")]),
    "a URI without an authority": ("CN=planner", [URI("urn:agent:planner")]),
    "a URI with a space": ("CN=planner", [URI("spiffe://fleet.example/a b")]),
    "an empty URI": ("CN=planner", [URI("")]),
    "a URI that reads as a subject": ("CN=planner", [URI("CN=admin")]),
    "a DNS name that reads as a subject": ("CN=planner", [DNS("CN=admin")]),
    "a DNS name that reads as a URI": ("CN=planner", [DNS("spiffe://fleet.example/admin")]),
    "a wildcard": ("CN=planner", [DNS("*.fleet.example")]),
    "a DNS name of upper case": ("CN=planner", [DNS("Planner.example")]),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("subject", "names"), NAMELESS.values(), ids=NAMELESS.keys())
def test_a_certificate_without_one_plain_name(subject: str, names: list[x509.GeneralName]) -> None:
    leaf = certificate(subject, ISSUING, names=names)
    assert refused(assertion(leaf, ABOVE, cnf=CNF), fleet())
    with pytest.raises(Unfit):
        x5c.subject(leaf.certificate)


ATTRIBUTES = st.builds(
    x509.NameAttribute,
    st.sampled_from([NameOID.COMMON_NAME, NameOID.DOMAIN_COMPONENT, NameOID.USER_ID, x509.ObjectIdentifier("1.2.3.4")]),
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=20),
)
OF_KINDS = (
    st.tuples(st.just("URI"), st.from_regex(x5c._URI, fullmatch=True).map(lambda text: (text[:200], None)))
    | st.tuples(st.just("DNS"), st.from_regex(x5c._DNS, fullmatch=True).map(lambda text: (text, None)))
    | st.tuples(st.just("subject"), st.lists(ATTRIBUTES, min_size=1, max_size=3).map(lambda them: (None, them)))
)


@given(OF_KINDS)
@example(("subject", (None, [x509.NameAttribute(x509.ObjectIdentifier("1.2.3.4"), "spiffe://fleet.example/a")])))
@example(("URI", ("cn://CN=admin,O=Fleet", None)))
def test_a_name_of_one_kind_is_never_one_of_another(made: tuple[str, tuple[str | None, Any]]) -> None:
    """The kind can be told from the text alone, so an agent that is known by one is never somebody of another."""
    kind, (text, attributes) = made
    key = new_key()
    builder = x509.CertificateBuilder(issuer_name=attribute("x"), public_key=key.public_key(), serial_number=1)
    builder = builder.subject_name(x509.Name(attributes or [])).not_valid_before(NOW).not_valid_after(NOW)
    if text is not None:
        alternative = x509.SubjectAlternativeName([URI(text) if kind == "URI" else DNS(text)])
        builder = builder.add_extension(alternative, critical=False)
    found = x5c.subject(builder.sign(key, hashes.SHA256()))
    first = next((letter for letter in found if letter in ":="), None)
    assert {":": "URI", "=": "subject", None: "DNS"}[first] == kind


@pytest.mark.parametrize("name", ["a\nb", "\u202eadmin", "x" * 1100])
def test_a_subject_that_cannot_be_shown(name: str) -> None:
    key = new_key()
    builder = x509.CertificateBuilder(issuer_name=attribute("x"), subject_name=None, public_key=key.public_key())
    try:
        builder = builder.subject_name(attribute(name))
    except ValueError:
        return  # the library itself makes none
    built = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW).sign(key, hashes.SHA256())
    with pytest.raises(Unfit):
        x5c.subject(built)


def _constrained(*constraints: x509.GeneralName) -> Any:
    extension = (x509.NameConstraints(list(constraints), None), True)
    return certificate("CN=Constrained", ROOT, ca=True, extensions=[extension])


ELSEWHERE = _constrained(URI("other.example"))
UNKNOWN = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)
UNCERTIFIED: dict[str, tuple[Any, list[x509.Certificate]]] = {
    "of another CA with the same name": (certificate("CN=planner", STRANGERS_ROOT, names=[SPIFFE]), []),
    "without the certificate between": (LEAF, []),
    "with another certificate between": (LEAF, [STRANGERS_ROOT.certificate]),
    "of itself": (certificate("CN=planner", names=[SPIFFE]), []),
    "of another leaf": (certificate("CN=worker", LEAF, names=[SPIFFE]), [LEAF.certificate, ABOVE]),
    "a CA": (certificate("CN=planner", ISSUING, ca=True, names=[SPIFFE]), [ABOVE]),
    "the CA between": (ISSUING, []),
    "the root": (ROOT, []),
    "expired": (certificate("CN=planner", ISSUING, names=[SPIFFE], ends=NOW - timedelta(seconds=1)), [ABOVE]),
    "not yet valid": (certificate("CN=planner", ISSUING, names=[SPIFFE], begins=NOW + timedelta(seconds=1)), [ABOVE]),
    "for servers": (
        certificate("CN=planner", ISSUING, names=[SPIFFE], usages=[ExtendedKeyUsageOID.SERVER_AUTH]),
        [ABOVE],
    ),
    "not for signatures": (certificate("CN=planner", ISSUING, names=[SPIFFE], signs=False), [ABOVE]),
    "with a critical extension that nobody knows": (
        certificate("CN=planner", ISSUING, names=[SPIFFE], extensions=[UNKNOWN]),
        [ABOVE],
    ),
    "outside its CA's constraints": (
        certificate("CN=planner", ELSEWHERE, names=[SPIFFE]),
        [ELSEWHERE.certificate],
    ),
    "with a key on P-521": (
        certificate("CN=planner", ISSUING, key=ec.generate_private_key(ec.SECP521R1()), names=[SPIFFE]),
        [ABOVE],
    ),
    "too long a chain": (LEAF, [ABOVE, ROOT.certificate, ABOVE, ABOVE]),
}


@pytest.mark.parametrize(("leaf", "above"), UNCERTIFIED.values(), ids=UNCERTIFIED.keys())
def test_a_certificate_that_does_not_do(leaf: Any, above: list[x509.Certificate]) -> None:
    alg = "ES512" if leaf.key.curve.name == "secp521r1" else "ES256"
    assert refused(assertion(leaf, *above, alg=alg, cnf=CNF), fleet())


WRONG: dict[str, dict[str, Any]] = {
    "no audience": {"aud": None},
    "another audience": {"aud": "https://other.example"},
    "no end": {"exp": None},
    "ended": {"exp": int(NOW.timestamp()) - 30},
    "an end too far": {"exp": int(NOW.timestamp()) + 331},
    "no beginning": {"iat": None},
    "begun too long ago": {"iat": int(NOW.timestamp()) - 330},
    "begins later": {"iat": int(NOW.timestamp()) + 31},
    "no jti": {"jti": None},
    "an empty jti": {"jti": ""},
    "bound to nothing": {"cnf": None},
    "bound to another key": {"cnf": {"jkt": "A" * 43}},
    "bound to a certificate": {"cnf": {"x5t#S256": JKT}},
    "another provider's": {"iss": "x5c:other"},
    "an issuer's": {"iss": "https://issuer.test"},
}


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG.keys())
def test_an_assertion_that_does_not_do(changed: dict[str, Any]) -> None:
    assert refused(assertion(LEAF, ABOVE, **({"cnf": CNF} | changed)), fleet())


def test_binding_can_be_left_to_the_holder() -> None:
    loose = fleet(key_bound=False)
    assert attested(assertion(LEAF, ABOVE), loose).key is None
    assert refused(assertion(LEAF, ABOVE, cnf={"jkt": "A" * 43}), loose)


def test_an_assertion_is_the_leafs_own() -> None:
    """Whoever saw a certificate has not its key; whoever has another key of the chain is not the leaf."""
    for key in (new_key(), ISSUING.key, ROOT.key):
        assert refused(assertion(LEAF, ABOVE, key=key, cnf=CNF), fleet())
    for alg in ("none", "HS256", "ES384", "RS256"):
        good = assertion(LEAF, ABOVE, cnf=CNF).split(".")
        head = urlsafe_b64encode(jwt.json.dumps(dict(jwt.read(".".join(good)).header) | {"alg": alg}).encode())
        assert refused(f"{head.rstrip(b'=').decode()}.{good[1]}.{good[2]}", fleet())


DER = LEAF.certificate.public_bytes(Encoding.DER)
CHAINS: dict[str, Any] = {
    "no array": b64encode(DER).decode(),
    "nothing": None,
    "empty": [],
    "a number": [7],
    "an object": [{}],
    "base64url": [urlsafe_b64encode(DER).decode().replace("=", "") + "-"],
    "PEM": [_pem(LEAF.certificate).decode()],
    "spaces": [b64encode(DER).decode() + " "],
    "empty DER": [""],
    "trailing octets": [b64encode(DER + b"\0").decode()],
    "truncated": [b64encode(DER[:-1]).decode()],
    "no certificate": [b64encode(b"\x30\x00").decode()],
    "nested deep": [b64encode(b"\x30\x80" * 2000).decode()],
    "an OBJECT IDENTIFIER of 4,000 octets": [b64encode(b"\x06\x82\x0f\xa0" + b"\x81" * 3999 + b"\x01").decode()],
    "longer than any": ["A" * 6145],
    "five": [b64encode(DER).decode()] * 5,
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())
def test_what_is_no_chain(chain: Any) -> None:
    assert refused(assertion(LEAF, cnf=CNF, header={"x5c": chain}), fleet())


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@example(place=DER.index(b"\xa0\x03\x02\x01\x02") + 4, change=1)  # X.509 v2
@given(st.integers(0, len(DER) - 1), st.integers(1, 255))
def test_no_octet_of_a_certificate_can_be_changed(place: int, change: int) -> None:
    changed = bytearray(DER)
    changed[place] ^= change
    chain = [b64encode(one).decode() for one in (bytes(changed), ABOVE.public_bytes(Encoding.DER))]
    assert refused(assertion(LEAF, cnf=CNF, header={"x5c": chain}), fleet())


@pytest.mark.parametrize(
    "pem",
    [b"", b"x", _pem(LEAF.certificate), _pem(ROOT.certificate, LEAF.certificate)],
    ids=["empty", "text", "leaf", "both"],
)
def test_roots_are_cas_alone(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        x5c.roots(pem)


def test_a_root_that_no_chain_can_lead_to_is_refused() -> None:
    """As `openssl req -x509` makes one when nothing else is said."""
    key, name = new_key(), attribute("Fleet")
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    with pytest.raises(ValueError, match="CN=Fleet has no keyUsage keyCertSign"):
        x5c.roots(_pem(builder.sign(key, hashes.SHA256())))


def test_the_doctor_is_told_which_roots_are_valid() -> None:
    old = certificate("CN=Old root", ca=True, ends=NOW - timedelta(seconds=1))
    both = X5c(x5c.Rules("fleet", AUDIENCE), x5c.roots(_pem(ROOT.certificate, old.certificate)))
    assert (
        asyncio.run(both.check(NOW)) == f"1 of 2 roots are valid, one until {ROOT.certificate.not_valid_after_utc:%F}."
    )
    with pytest.raises(Away, match="none of its roots"):
        asyncio.run(both.check(NOW + timedelta(days=365)))
    asyncio.run(both.run())
