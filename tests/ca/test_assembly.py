"""What is put together from settings: publicly known keys (case 31), the outside proofs, and the operator's rules."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ca import assembly
from ca.config import Certificates, Misconfigured, Policy, Proofs, Settings
from ca.pki.certificate import Issuer
from ca.policy.rules import NO_RULES
from ca.proofs.jwt import jwk_thumbprint
from ca.proofs.providers import Builtin, Providers
from ca.refusals import Refused
from tests.ca.pki.known import listed
from tests.ca.pki.specimens import POINTERS
from tests.ca.proofs.issuer import NOW
from tests.ca.proofs.pki import assertion, certificate
from tests.world import CHECKOUT

KEY = ec.generate_private_key(ec.SECP256R1()).public_key()


def configured(**certificates: object) -> Settings:
    return Settings(certificates=Certificates.model_validate(certificates))


def test_without_a_list_no_key_is_known() -> None:
    assert KEY not in assembly.known_keys(configured())


def test_a_list_is_read_whatever_kinds_are_taken(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(listed(KEY))
    for rsa in (False, True):
        assert KEY in assembly.known_keys(configured(rsa=rsa, known_keys=tmp_path / "list"))


def test_rsa_keys_are_not_taken_without_the_list() -> None:
    with pytest.raises(Misconfigured, match="badkeys --update-bl"):
        assembly.known_keys(configured(rsa=True))


@pytest.mark.parametrize("octets", [None, b"", b"text", b"\x02" * 16 + b"\x01" * 16])
def test_what_is_not_a_list_stops_the_start(tmp_path: Path, octets: bytes | None) -> None:
    if octets is not None:
        (tmp_path / "list").write_bytes(octets)
    with pytest.raises(Misconfigured, match=r"certificates\.known_keys is wrong"):
        assembly.known_keys(configured(known_keys=tmp_path / "list"))


def test_a_newer_list_may_take_the_place_of_the_one_in_use(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(listed(KEY))
    known = assembly.known_keys(configured(known_keys=tmp_path / "list"))
    (tmp_path / "new").write_bytes(listed(others=[b"other"]))
    (tmp_path / "new").replace(tmp_path / "list")
    assert KEY in known
    assert KEY not in assembly.known_keys(configured(known_keys=tmp_path / "list"))


def proving(*ours: Issuer, **proofs: object) -> Providers:
    settings = Settings(proofs=Proofs.model_validate(proofs), public_url="https://ca.example")
    return assembly.providers(settings, *ours)


def test_a_proof_that_is_switched_off_is_not_there() -> None:
    on = {"issuer": "https://a.example"}
    assert [one.name for one in proving(oidc={"a": on}).configured] == ["a"]
    assert proving(oidc={"a": {**on, "enabled": False}}).configured == ()
    with pytest.raises(Refused):
        proving(token=False).admit(Builtin.TOKEN)
    proving(token=False).admit(Builtin.CERTIFICATE)


@pytest.mark.parametrize("audience", ["", "urn:ca"])
def test_a_jwt_is_for_our_public_url_where_nothing_else_is_named(tmp_path: Path, audience: str) -> None:
    root = certificate("CN=Fleet root", ca=True)
    (tmp_path / "roots.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    made = proving(x5c={"fleet": {"roots": str(tmp_path / "roots.pem"), "audience": audience}})
    leaf, bound = certificate("CN=planner", root), {"jkt": jwk_thumbprint(KEY)}
    for aud in ("https://ca.example", "urn:ca"):
        shown = assertion(leaf, aud=aud, cnf=bound)
        if aud == (audience or "https://ca.example"):
            assert asyncio.run(made.attest(shown, KEY, NOW)).subject == "CN=planner"
        else:
            with pytest.raises(Refused):
                asyncio.run(made.attest(shown, KEY, NOW))


@pytest.mark.parametrize(
    ("section", "setting"),
    [
        ({"issuer": "accounts.example"}, "issuer"),
        ({"issuer": "https://ok.example?a"}, "issuer"),
        ({"jwks_uri": "http://ok.example/jwks"}, "jwks_uri"),
        ({"claims": {"a..b": "x"}}, "claims"),
        ({"claims": {"a": []}}, "claims"),
        ({"private": ["10.0.0.1/8"]}, "private"),
        ({"private": ["https://a.example"]}, "private"),
        ({"ca_file": "/nowhere.pem"}, "ca_file"),
    ],
)
def test_a_proof_that_cannot_be_put_together_stops_the_start(section: dict[str, object], setting: str) -> None:
    with pytest.raises(Misconfigured, match=rf"The setting proofs\.oidc\.a\.{setting} is wrong: "):
        proving(oidc={"a": {"issuer": "https://a.example", **section}})


def test_an_issuer_whose_keys_are_named_may_be_called_anything() -> None:
    [made] = proving(oidc={"a": {"issuer": "kubernetes/serviceaccount", "jwks_uri": "https://a.example/k"}}).configured
    assert made.issuer == "kubernetes/serviceaccount"


def test_roots_that_are_none_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "leaf.pem").write_bytes(certificate("CN=planner").certificate.public_bytes(Encoding.PEM))
    for file in (tmp_path / "leaf.pem", tmp_path / "nowhere.pem", tmp_path):
        with pytest.raises(Misconfigured, match=r"The setting proofs\.x5c\.fleet\.roots is wrong: "):
            proving(x5c={"fleet": {"roots": str(file)}})


def test_our_own_cas_are_not_believed_as_another(tmp_path: Path) -> None:
    """Under another name and number neither: it is the key that signs."""
    key = ec.generate_private_key(ec.SECP256R1())
    first, again = (certificate(name, ca=True, key=key) for name in ("CN=Ours", "CN=Renamed"))
    other = certificate("CN=Fleet root", ca=True)
    pem = [one.certificate.public_bytes(Encoding.PEM) for one in (other, again)]
    (tmp_path / "roots.pem").write_bytes(b"".join(pem))
    ours = Issuer("root-1", first.certificate, key.public_key(), POINTERS)
    fleet = {"fleet": {"roots": str(tmp_path / "roots.pem")}}
    assert proving(x5c=fleet).configured
    with pytest.raises(Misconfigured, match=r"proofs\.x5c\.fleet\.roots is wrong: .*holds a CA of this authority"):
        proving(ours, x5c=fleet)


def test_rules_are_read_at_the_start_or_stop_it(tmp_path: Path) -> None:
    file = tmp_path / "rules.cedar"
    assert assembly.rules(Settings()) is NO_RULES
    file.write_text('@id("none") forbid (principal, action, resource);')
    [policy] = assembly.rules(Settings(policy=Policy(file=file))).policies
    assert policy.name == "none"
    for octets, what in ((b"permit (principal, action, resource);", "line 1: only 'forbid'"), (b"\xff", "utf-8")):
        file.write_bytes(octets)
        with pytest.raises(Misconfigured, match=rf"The setting policy\.file is wrong: {file} \(.*{what}"):
            assembly.rules(Settings(policy=Policy(file=file)))
    with pytest.raises(Misconfigured, match="No such file"):
        assembly.rules(Settings(policy=Policy(file=tmp_path / "nowhere")))


def test_the_proofs_of_the_readme_can_be_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = re.findall(r"```toml\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    [example] = [one for one in examples if "[proofs." in one]
    file = tmp_path / "root.pem"
    file.write_bytes(certificate("CN=Fleet root", ca=True).certificate.public_bytes(Encoding.PEM))
    (tmp_path / "remit.toml").write_text(re.sub(r'"/\S+\.(crt|pem)"', f'"{file}"', example))
    monkeypatch.setenv("REMIT_CONFIG", str(tmp_path / "remit.toml"))
    monkeypatch.setenv("REMIT_PKCS11__MODULE", "/opt/hsm.so")
    made = assembly.providers(Settings.load()).configured
    assert {one.issuer for one in made} == {"https://kubernetes.default.svc.cluster.local", "x5c:fleet"}
