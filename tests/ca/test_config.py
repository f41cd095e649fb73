from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from pydantic import BaseModel

import ca
from ca.config import DOCUMENTATION_ARC, Misconfigured, Settings, _known_variables
from ca.sections import split_listener
from softhsm.locate import ModuleMissing


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty directory, an environment without settings, and a module that needs not exist."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("REMIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("REMIT_PKCS11__MODULE", "/opt/hsm.so")


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def refusal() -> str:
    with pytest.raises(Misconfigured) as caught:
        Settings.load()
    return str(caught.value)


def written(text: str) -> Path:
    path = Path("remit.toml")
    path.write_text(text)
    return path


def test_defaults_are_those_of_the_contract(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env.setenv("REMIT_HOME", str(tmp_path / "home"))
    settings = Settings.load()
    assert settings.database_url == f"sqlite:///{tmp_path / 'home' / 'remit.db'}"
    assert (settings.listen, settings.status_listen) == ("127.0.0.1:8443", "127.0.0.1:8080")
    assert (settings.public_url, settings.status_url) == ("https://127.0.0.1:8443", "http://127.0.0.1:8080")
    assert (settings.trust_domain, settings.organisation) == ("agents.example", "Remit")
    assert settings.oid_arc == DOCUMENTATION_ARC == "1.3.6.1.4.1.32473.1"
    assert settings.pkcs11.token_label == "remit"
    assert (settings.pkcs11.sessions, settings.pkcs11.key_kind) == (1, "P-256")
    assert settings.pin_file == settings.pkcs11.pin_file == tmp_path / "home" / "pin"
    assert settings.softhsm_directory == tmp_path / "home" / "token"
    assert settings.certificates.lifetime == timedelta(minutes=15)
    assert (settings.certificates.shortest, settings.certificates.longest) == (
        timedelta(minutes=1),
        timedelta(minutes=60),
    )
    assert not settings.certificates.rsa
    assert settings.certificates.known_keys is None
    assert (settings.status.crl_lifetime, settings.status.ocsp_validity) == (timedelta(hours=1), timedelta(seconds=60))
    assert settings.status.ocsp_unissued == "unknown"
    assert settings.status.crl_shards == 16
    assert settings.certificates.no_revocation_under is None
    assert settings.revocation.alone_up_to is None


def test_the_home_is_in_the_checkout() -> None:
    assert Settings.load().home == Path(ca.__file__).parent.parent / "var"


def test_a_relative_home_is_made_absolute(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env.setenv("REMIT_HOME", "here")
    assert Settings.load().home == tmp_path / "here"


def test_the_file_is_read(tmp_path: Path) -> None:
    written(
        'home = "/srv/remit"\ntrust_domain = "a.example"\n'
        '[certificates]\nlifetime = "5m"\nrsa = true\n[status]\nocsp_unissued = "revoked"\n'
    )
    settings = Settings.load()
    assert settings.home == Path("/srv/remit")
    assert settings.trust_domain == "a.example"
    assert settings.certificates.lifetime == timedelta(minutes=5)
    assert settings.certificates.shortest == timedelta(minutes=1), "what is not named keeps its default"
    assert settings.certificates.rsa
    assert settings.status.ocsp_unissued == "revoked"


def test_the_environment_wins_over_the_file(env: pytest.MonkeyPatch) -> None:
    written('trust_domain = "file.example"\n[certificates]\nlifetime = "5m"\nlongest = "30m"\n')
    env.setenv("REMIT_TRUST_DOMAIN", "environment.example")
    env.setenv("REMIT_CERTIFICATES__LIFETIME", "7m")
    settings = Settings.load()
    assert settings.trust_domain == "environment.example"
    assert settings.certificates.lifetime == timedelta(minutes=7)
    assert settings.certificates.longest == timedelta(minutes=30)


def test_another_file_can_be_named(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written('trust_domain = "default.example"')
    (tmp_path / "other.toml").write_text('trust_domain = "other.example"')
    env.setenv("REMIT_CONFIG", str(tmp_path / "other.toml"))
    assert Settings.load().trust_domain == "other.example"


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("8h", timedelta(hours=8)),
        ("2d", timedelta(days=2)),
    ],
)
def test_durations(env: pytest.MonkeyPatch, text: str, length: timedelta) -> None:
    env.setenv("REMIT_STATUS__CRL_LIFETIME", text)
    assert Settings.load().status.crl_lifetime == length


@pytest.mark.parametrize("text", ["", "soon", "15x", "-5m", "0s", "1.5h", "5 m"])
def test_another_duration_is_refused_by_its_name(env: pytest.MonkeyPatch, text: str) -> None:
    env.setenv("REMIT_STATUS__CRL_LIFETIME", text)
    assert refusal().startswith("The setting status.crl_lifetime is wrong")


MISSPELT = {
    "REMIT_TRUST_DOMIAN": "REMIT_TRUST_DOMAIN",
    "REMIT_PKCS11_MODULE": "REMIT_PKCS11__MODULE",
    "REMIT_CERTIFICATES__LIFETIMES": "REMIT_CERTIFICATES__LIFETIME",
    "REMIT_DATABASE": "REMIT_DATABASE_URL",
}


@pytest.mark.parametrize(("name", "meant"), MISSPELT.items())
def test_a_misspelt_variable_is_refused_with_the_nearest(env: pytest.MonkeyPatch, name: str, meant: str) -> None:
    env.setenv(name, "x")
    assert refusal().startswith(f"The environment variable {name} is not known; did you mean {meant}?")


def test_a_variable_like_no_other_is_refused_with_all_there_are(env: pytest.MonkeyPatch) -> None:
    env.setenv("REMIT_ZZZZZZZZZZZZZZZ", "x")
    assert "known are REMIT_CERTIFICATES__KNOWN_KEYS, " in refusal()


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ('trust_domian = "x"', "trust_domian", "trust_domain"),
        ('[certificates]\nlifetimes = "5m"', "certificates.lifetimes", "certificates.lifetime"),
        ('[pkcs11]\nlabel = "x"', "pkcs11.label", None),
        ('[certificate]\nlifetime = "5m"', "certificate", "certificates"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_nearest(text: str, key: str, meant: str | None) -> None:
    written(text)
    assert refusal().startswith(f"The setting {key} is not known; ")
    assert meant is None or f"did you mean {meant}?" in refusal()


def test_what_the_command_reads_is_not_the_servers_to_refuse(env: pytest.MonkeyPatch) -> None:
    for name in ("REMIT_CREDENTIAL", "REMIT_CA", "REMIT_ENROLLMENT_TOKEN", "REMIT_ROOT_FINGERPRINT"):
        env.setenv(name, "x")
    assert Settings.load()


WRONG = {
    "REMIT_LISTEN": [
        "8443",
        "localhost",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:x",
        "::1:8443",
        "a b:1",
    ],
    "REMIT_STATUS_LISTEN": ["", "http://127.0.0.1:8080"],
    "REMIT_ORGANISATION": ["", "x" * 65],
    "REMIT_OID_ARC": ["", "3.1", "1", "1.", "1..2", "1.02", "1.a", "1.2.3\n", "1.1000000000"],
    "REMIT_STATUS__OCSP_UNISSUED": ["good", "", "Unknown"],
    "REMIT_CERTIFICATES__RSA": ["perhaps", ""],
    "REMIT_PKCS11__SESSIONS": ["0", "65", "many"],
    "REMIT_PKCS11__KEY_KIND": ["P-521", "p-256", ""],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_by_its_name(env: pytest.MonkeyPatch, name: str, value: str) -> None:
    env.setenv(name, value)
    key = name.removeprefix("REMIT_").lower().replace("__", ".")
    assert refusal().startswith(f"The setting {key} is wrong: ")


def test_every_fault_is_said_one_a_line(env: pytest.MonkeyPatch) -> None:
    env.setenv("REMIT_LISTEN", "x")
    env.setenv("REMIT_OID_ARC", "x")
    assert len(refusal().splitlines()) == 2


@pytest.mark.parametrize(
    ("listener", "halves"),
    [
        ("127.0.0.1:8443", ("127.0.0.1", 8443)),
        ("[::1]:1", ("::1", 1)),
        ("ca.example:65535", ("ca.example", 65535)),
    ],
)
def test_listeners(env: pytest.MonkeyPatch, listener: str, halves: tuple[str, int]) -> None:
    env.setenv("REMIT_LISTEN", listener)
    settings = Settings.load()
    assert split_listener(settings.listen) == halves
    assert settings.public_url == f"https://{listener}"


def test_urls_lose_their_trailing_slash(env: pytest.MonkeyPatch) -> None:
    env.setenv("REMIT_PUBLIC_URL", "https://ca.example/")
    env.setenv("REMIT_STATUS_URL", "http://status.example//")
    settings = Settings.load()
    assert (settings.public_url, settings.status_url) == ("https://ca.example", "http://status.example")


def test_without_a_module_it_is_looked_for_and_its_absence_said(env: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise ModuleMissing("SoftHSM is not installed; run apt-get install softhsm2.")

    env.delenv("REMIT_PKCS11__MODULE")
    env.setattr("ca.config.find_module", lambda: Path("/found.so"))
    assert Settings.load().module == Path("/found.so")
    env.setattr("ca.config.find_module", missing)
    assert refusal() == "SoftHSM is not installed; run apt-get install softhsm2."


def test_a_file_that_cannot_be_read_is_said(env: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> NoReturn:
        raise PermissionError("denied")

    written("")
    with env.context() as closed:
        closed.setattr(Path, "open", denied)
        assert refusal() == "The configuration cannot be read: denied."


@pytest.mark.parametrize("number", [0, 1, 1024])
def test_so_many_lists_may_be_wanted(env: pytest.MonkeyPatch, number: int) -> None:
    env.setenv("REMIT_STATUS__CRL_SHARDS", str(number))
    assert Settings.load().status.crl_shards == number


@pytest.mark.parametrize("number", [0, 1, 1_000_000])
def test_so_many_may_be_revoked_alone(env: pytest.MonkeyPatch, number: int) -> None:
    env.setenv("REMIT_REVOCATION__ALONE_UP_TO", str(number))
    assert Settings.load().revocation.alone_up_to == number


@pytest.mark.parametrize("number", ["-1", "some", ""])
def test_another_threshold_is_refused_by_its_name(env: pytest.MonkeyPatch, number: str) -> None:
    env.setenv("REMIT_REVOCATION__ALONE_UP_TO", number)
    assert refusal().startswith("The setting revocation.alone_up_to is wrong")


@pytest.mark.parametrize("number", ["-1", "1025", "many"])
def test_another_number_of_lists_is_refused_by_its_name(env: pytest.MonkeyPatch, number: str) -> None:
    env.setenv("REMIT_STATUS__CRL_SHARDS", number)
    assert refusal().startswith("The setting status.crl_shards is wrong")


@pytest.mark.parametrize("text", ["1s", "5m", "60m"])
def test_up_to_the_longest_lifetime_revocation_may_be_left_out(env: pytest.MonkeyPatch, text: str) -> None:
    env.setenv("REMIT_CERTIFICATES__NO_REVOCATION_UNDER", text)
    assert Settings.load().certificates.no_revocation_under is not None


def test_beyond_the_longest_lifetime_there_is_nothing_to_leave_out(env: pytest.MonkeyPatch) -> None:
    env.setenv("REMIT_CERTIFICATES__NO_REVOCATION_UNDER", "61m")
    assert refusal().endswith("no_revocation_under must not exceed longest: no certificate lives so long.")


def test_settings_cannot_be_changed() -> None:
    settings = Settings.load()
    for changed, name in ((settings, "home"), (settings.certificates, "rsa")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(changed, name, "x")


def test_every_setting_has_its_variable(env: pytest.MonkeyPatch) -> None:
    """The list of known variables is the model's, none forgotten."""
    names = _known_variables()
    for name, field in Settings.model_fields.items():
        section = field.annotation
        assert isinstance(section, type)
        if issubclass(section, BaseModel):
            assert all(f"REMIT_{name}__{key}".upper() in names for key in section.model_fields)
        else:
            assert f"REMIT_{name}".upper() in names


def test_rules_are_a_file(env: pytest.MonkeyPatch) -> None:
    assert Settings.load().policy.file is None
    env.setenv("REMIT_POLICY__FILE", "/etc/remit/rules.cedar")
    assert Settings.load().policy.file == Path("/etc/remit/rules.cedar")


def test_tokens_and_certificates_prove_and_nothing_else_does_by_default() -> None:
    proofs = Settings.load().proofs
    assert (proofs.token, proofs.certificate, proofs.oidc, proofs.x5c) == (True, True, {}, {})


def test_outside_proofs_are_named_in_the_file() -> None:
    written(
        '[proofs]\ntoken = false\n[proofs.oidc.cluster]\nissuer = "https://kubernetes.default.svc"\n'
        'claims = { "kubernetes.io.namespace" = "agents", ref = ["a", "b"], protected = true, level = 3 }\n'
        '[proofs.x5c.fleet]\nroots = "/etc/fleet.pem"\n'
    )
    proofs = Settings.load().proofs
    assert (proofs.token, proofs.certificate) == (False, True)
    cluster, fleet = proofs.oidc["cluster"], proofs.x5c["fleet"]
    assert cluster.claims == {"kubernetes.io.namespace": "agents", "ref": ("a", "b"), "protected": True, "level": 3}
    assert (cluster.enabled, cluster.audience, cluster.algorithms) == (True, "", ("RS256", "ES256"))
    assert (cluster.max_age, cluster.refresh, cluster.usable) == (
        timedelta(hours=1),
        timedelta(minutes=5),
        timedelta(hours=1),
    )
    assert (cluster.one_time, cluster.key_bound, cluster.metadata) == (False, False, "openid-configuration")
    assert (cluster.jwks_uri, cluster.ca_file, cluster.bearer_file, cluster.private) == (None, None, None, ())
    assert (fleet.roots, fleet.max_age, fleet.key_bound) == (Path("/etc/fleet.pem"), timedelta(minutes=5), True)


def test_outside_proofs_are_named_in_the_environment_too(env: pytest.MonkeyPatch) -> None:
    written('[proofs.oidc.my_ci]\nissuer = "https://file.example"\nmax_age = "5m"\n')
    env.setenv("REMIT_PROOFS__OIDC__MY_CI__ISSUER", "https://environment.example")
    env.setenv("REMIT_PROOFS__OIDC__MY_CI__CLAIMS", '{"repository": "o/r"}')
    env.setenv("REMIT_PROOFS__OIDC__MY_CI__PRIVATE", '["10.0.0.0/8", "ci.internal"]')
    env.setenv("REMIT_PROOFS__X5C__FLEET__ROOTS", "/etc/fleet.pem")
    env.setenv("REMIT_PROOFS__CERTIFICATE", "false")
    proofs = Settings.load().proofs
    ci = proofs.oidc["my_ci"]
    assert (ci.issuer, ci.claims, ci.max_age) == (
        "https://environment.example",
        {"repository": "o/r"},
        timedelta(minutes=5),
    )
    assert ci.private == ("10.0.0.0/8", "ci.internal")
    assert proofs.x5c["fleet"].roots == Path("/etc/fleet.pem")
    assert not proofs.certificate


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("REMIT_PROOFS__OIDC__CI__ISUER", "REMIT_PROOFS__OIDC__CI__ISSUER"),
        ("REMIT_PROOFS__OIDC__CI__CA_FIL", "REMIT_PROOFS__OIDC__CI__CA_FILE"),
        ("REMIT_PROOFS__X5C__FLEET__ROOT", "REMIT_PROOFS__X5C__FLEET__ROOTS"),
        ("REMIT_PROOFS__OICD__CI__ISSUER", "REMIT_PROOFS__OIDC__CI__ISSUER"),
        ("REMIT_PROOFS__OIDC__CI__CLAIMS__REPOSITORY", "REMIT_PROOFS__OIDC__CI__CLAIMS"),
        ("REMIT_PROOFS__TOKENS", "REMIT_PROOFS__TOKEN"),
    ],
)
def test_a_misspelt_variable_of_a_named_section_is_refused_with_the_nearest(
    env: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    env.setenv(name, "x")
    assert refusal() == f"The environment variable {name} is not known; did you mean {meant}?"


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ('oidc.ci]\nisuer = "x"', "The setting proofs.oidc.ci.isuer is not known; did you mean proofs.oidc.ci.issuer?"),
        ('x5c.a]\nrots = "x"', "The setting proofs.x5c.a.rots is not known; did you mean proofs.x5c.a.roots?"),
        ('oicd.ci]\nissuer = "x"', "The setting proofs.oicd is not known; did you mean proofs.oidc?"),
        ("oidc.ci]\n", "The setting proofs.oidc.ci.issuer is wrong: Field required."),
        ('oidc.ci]\nissuer = ""', "The setting proofs.oidc.ci.issuer is wrong: "),
        (
            'oidc.ci]\nissuer = "x5c:fleet"',
            "The setting proofs.oidc.ci.issuer is wrong: Value error, must not begin with x5c:",
        ),
        ('oidc.ci]\nissuer = "x"\nalgorithms = ["none"]', "The setting proofs.oidc.ci.algorithms.0 is wrong: "),
        ('oidc.ci]\nissuer = "x"\nalgorithms = ["HS256"]', "The setting proofs.oidc.ci.algorithms.0 is wrong: "),
        ('oidc.ci]\nissuer = "x"\nalgorithms = []', "The setting proofs.oidc.ci.algorithms is wrong: "),
        ('oidc.ci]\nissuer = "x"\nmax_age = "0s"', "The setting proofs.oidc.ci.max_age is wrong: "),
        ('oidc.ci]\nissuer = "x"\nmetadata = "x"', "The setting proofs.oidc.ci.metadata is wrong: "),
        ('oidc.ci]\nissuer = "x"\nrefresh = "2h"', "The setting proofs.oidc.ci is wrong: "),
        ('oidc.ci]\nissuer = "x"\nclaims = { a = 1.5 }', "The setting proofs.oidc.ci.claims.a."),
        ('oidc.CI]\nissuer = "x"', "The setting proofs.oidc.CI.[key] is wrong: "),
        ('oidc.a__b]\nissuer = "x"', "The setting proofs.oidc.a__b.[key] is wrong: "),
        ('oidc.token]\nissuer = "x"', "The setting proofs is wrong: Value error, token is the name of two proofs."),
        (
            'oidc.a]\nissuer = "x"\n[proofs.x5c.a]\nroots = "x"',
            "The setting proofs is wrong: Value error, a is the name of two proofs.",
        ),
        (
            'oidc.a]\nissuer = "x"\n[proofs.oidc.b]\nissuer = "x"',
            "The setting proofs is wrong: Value error, two of oidc have the same issuer",
        ),
    ],
)
def test_a_wrong_proof_is_refused_by_its_name(section: str, sentence: str) -> None:
    written(f"[proofs.{section}\n")
    assert refusal().splitlines()[-1].startswith(sentence) or refusal().startswith(sentence)


GATEWAY = '[gateway]\ncertificate_header = "Client-Cert"\ncertificate_form = "rfc9440"\n'


def test_gateways_are_not_listened_to_by_default() -> None:
    assert Settings.load().gateway.listen == ""


@pytest.mark.parametrize(
    "listen", ["unix:/run/remit/gateway", "127.0.0.1:9000", "127.9.9.9:1", "[::1]:9000", "localhost:9000"]
)
def test_gateways_ask_where_nobody_else_comes(listen: str) -> None:
    written(f'{GATEWAY}listen = "{listen}"\n')
    gateway = Settings.load().gateway
    assert (gateway.listen, gateway.certificate_header, gateway.certificate_form) == (listen, "client-cert", "rfc9440")


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:9000", "10.0.0.1:9000", "[::]:9000", "[2001:db8::1]:9000", "gateway.example:9000"]
)
def test_where_others_come_must_be_meant(listen: str) -> None:
    written(f'{GATEWAY}listen = "{listen}"\n')
    assert "others can reach" in refusal()
    written(f'{GATEWAY}listen = "{listen}"\nallow_public = true\n')
    assert Settings.load().gateway.listen == listen


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ('listen = "127.0.0.1:9000"', "never guessed"),
        ('listen = "127.0.0.1:9000"\ncertificate_header = "Client-Cert"', "never guessed"),
        ('listen = "127.0.0.1:9000"\ncertificate_form = "xfcc"', "never guessed"),
        ('certificate_form = "any"', "gateway.certificate_form"),
        ('certificate_header = "Client_Cert"', "hyphens"),
        ('certificate_header = "Client-Cert, X-Other"', "hyphens"),
    ],
)
def test_which_header_has_the_certificate_is_said_once(settings: str, sentence: str) -> None:
    written(f"[gateway]\n{settings}\n")
    assert sentence in refusal()


@pytest.mark.parametrize("listen", ["unix:", "unix:run/gateway", "9000", "127.0.0.1:0"])
def test_where_gateways_ask_is_an_address(listen: str) -> None:
    written(f'{GATEWAY}listen = "{listen}"\n')
    assert "host:port" in refusal()


def test_several_workers_share_no_path() -> None:
    written(f'workers = 2\n{GATEWAY}listen = "unix:/run/remit/gateway"\n')
    assert "several workers" in refusal()
    written(f'workers = 2\n{GATEWAY}listen = "127.0.0.1:9000"\n')
    assert Settings.load().workers == 2
