"""Configuration: `remit.toml`, then environment variables `REMIT_*`, read once at the top.

A key that does not exist is refused with the nearest one that does. Rooms receive ready values;
only what runs at the top, `ca.server`, `ca.ceremony` and their like, and the status service's server read this.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Literal, get_args

from cryptography.x509 import ObjectIdentifier
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ca.hsm import KeyKind
from ca.pki.certificate import MAX_SHARDS
from ca.sections import UNIX, Gateway, Section, host_and_port
from softhsm.locate import ModuleMissing, find_module

_CHECKOUT = Path(__file__).parent.parent
_DURATION = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_ARC = re.compile(r"[0-2](\.(0|[1-9]\d{0,8}))+")

# Read by the command, not by the servers.
_FOREIGN = {"REMIT_CREDENTIAL", "REMIT_CA", "REMIT_ENROLLMENT_TOKEN", "REMIT_ROOT_FINGERPRINT"}

DOCUMENTATION_ARC = "1.3.6.1.4.1.32473.1"
"""RFC 5612's arc for examples: `doctor` warns while it is in use."""


class Misconfigured(Exception):  # noqa: N818 (said to a person as it is)
    """The configuration cannot be used: one sentence a line, each naming the key."""


def _duration(value: Any) -> Any:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    try:
        return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else value
    except OverflowError as error:
        raise ValueError("is longer than time can be told") from error


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]
"""A time such as `90s`, `15m`, `8h` or `2d`."""


class Pkcs11(Section):
    """The HSM: any PKCS#11 module; SoftHSM where none is named.

    `sessions` above 1 sign side by side, for an HSM on the network. `key_kind` is what the ceremony
    makes: the keys of the root, the issuing CA and the OCSP responder.
    """

    module: Path | None = None
    token_label: str = "remit"  # noqa: S105 (a label)
    pin_file: Path | None = None
    sessions: int = Field(default=1, ge=1, le=64)
    key_kind: KeyKind = KeyKind.P256


class Certificates(Section):
    """Agents' certificates: their lifetimes, whether RSA keys are taken, and the list of keys that never are.

    Those that live for `no_revocation_under` or less have no pointers to their status (RFC 9608).
    `overlap` is how long an old one should hold beside the one that it was renewed by: the life of the longest token.
    `known_keys` is the file that badkeys publishes (`ca.pki.known_keys`); `rsa` needs it.
    """

    lifetime: Duration = timedelta(minutes=15)
    shortest: Duration = timedelta(minutes=1)
    longest: Duration = timedelta(minutes=60)
    no_revocation_under: Duration | None = None
    overlap: Duration = timedelta(minutes=5)
    rsa: bool = False
    known_keys: Path | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Certificates:
        if not self.shortest <= self.lifetime <= self.longest:
            raise ValueError("shortest, lifetime and longest must be in that order")
        if self.no_revocation_under is not None and self.no_revocation_under > self.longest:
            raise ValueError("no_revocation_under must not exceed longest: no certificate lives so long")
        return self


class Revocation(Section):
    """`alone_up_to`: how many certificates one operator may revoke by one call. For more a second one must confirm."""

    alone_up_to: int | None = Field(default=None, ge=0)


class Status(Section):
    """What the status service says, and for how long.

    `crl_shards` is how many CRLs new certificates are spread over; with 0 they name the full one, as NSS needs.
    """

    crl_lifetime: Duration = timedelta(hours=1)
    crl_shards: int = Field(default=16, ge=0, le=MAX_SHARDS)
    ocsp_validity: Duration = timedelta(seconds=60)
    ocsp_unissued: Literal["unknown", "revoked"] = "unknown"


# RFC 7518 3.1, RFC 8037 3.1, RFC 9864 2.2: signatures that a public key alone verifies.
_Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]
_Value = str | int | bool


class OidcProof(Section):
    """JWTs of one issuer, which `issuer` names exactly; its keys are found by its metadata, or stand at `jwks_uri`.

    A JWT must be for `audience` (the CA's public URL where none is named), no older than `max_age`, and have these
    `claims` (`ca.proofs.claims`). With `one_time` it has a `jti` and opens once; with `key_bound` it names the CSR's
    key (`cnf`). `ca_file` holds the only root that the issuer's TLS may lead to, `bearer_file` a token that is sent
    for its keys, `private` the hosts and networks inside that may be asked.
    """

    enabled: bool = True
    issuer: str = Field(min_length=1, max_length=1024)
    audience: str = Field(default="", max_length=1024)
    algorithms: tuple[_Algorithm, ...] = Field(default=("RS256", "ES256"), min_length=1)
    claims: dict[str, _Value | tuple[_Value, ...]] = Field(default={})
    max_age: Duration = timedelta(hours=1)
    one_time: bool = False
    key_bound: bool = False
    metadata: Literal["openid-configuration", "oauth-authorization-server"] = "openid-configuration"
    jwks_uri: str | None = None
    ca_file: Path | None = None
    bearer_file: Path | None = None
    private: tuple[str, ...] = ()
    refresh: Duration = timedelta(minutes=5)
    usable: Duration = timedelta(hours=1)

    @field_validator("issuer")
    @classmethod
    def _check_issuer(cls, value: str) -> str:
        # The registry knows an issuer and a subject, not who attests them: this one would attest another CA's.
        if value.startswith("x5c:"):
            raise ValueError("must not begin with x5c: (what the sections of proofs.x5c attest is called so)")
        return value

    @model_validator(mode="after")
    def _check_order(self) -> OidcProof:
        if self.refresh > self.usable:
            raise ValueError("refresh must not exceed usable: no key would be held so long")
        return self


class X5cProof(Section):
    """JWTs that carry a certificate of another CA, whose roots are in `roots` (PEM), and that its key signed.

    Their issuer is `x5c:` and this section's name. They are for `audience` (the CA's public URL where none is named),
    end within `max_age`, open once, and name the CSR's key (`cnf`) unless `key_bound` is off.
    """

    enabled: bool = True
    roots: Path
    audience: str = Field(default="", max_length=1024)
    max_age: Duration = timedelta(minutes=5)
    key_bound: bool = True


ProofName = Annotated[str, Field(pattern=r"^[a-z0-9]+([_-][a-z0-9]+)*$", max_length=32)]


class Proofs(Section):
    """Which proofs of identity open an enrolment: one-time tokens, live certificates, and each that is named here."""

    token: bool = True
    certificate: bool = True
    oidc: dict[ProofName, OidcProof] = Field(default={})
    x5c: dict[ProofName, X5cProof] = Field(default={})

    @model_validator(mode="after")
    def _check_issuers(self) -> Proofs:
        issuers = [one.issuer for one in self.oidc.values()]
        if len(set(issuers)) < len(issuers):
            raise ValueError("two of oidc have the same issuer: which of them a token is for could not be told")
        if twice := (self.oidc.keys() & self.x5c.keys()) | ({"token", "certificate"} & {*self.oidc, *self.x5c}):
            raise ValueError(f"{', '.join(sorted(twice))} is the name of two proofs")
        return self


class Policy(Section):
    """The operator's rules, in Cedar (`ca.policy.rules`): `file` is read at the start; without it nothing is denied."""

    file: Path | None = None


class Hook(Section):
    """What authorization servers are told: no token bound to a certificate lives longer than `token_lifetime`."""

    token_lifetime: Duration = timedelta(minutes=5)


class Settings(BaseSettings):
    """Everything that can be set. `Settings.load()` reads it."""

    model_config = SettingsConfigDict(
        env_prefix="REMIT_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    home: Path = _CHECKOUT / "var"
    database_url: str = ""
    listen: str = "127.0.0.1:8443"
    status_listen: str = "127.0.0.1:8080"
    public_url: str = ""
    status_url: str = ""
    workers: int = Field(default=1, ge=1, le=64)
    trust_domain: str = "agents.example"
    organisation: str = Field(default="Remit", min_length=1, max_length=64)
    oid_arc: str = DOCUMENTATION_ARC
    pkcs11: Pkcs11 = Pkcs11()
    certificates: Certificates = Certificates()
    revocation: Revocation = Revocation()
    status: Status = Status()
    proofs: Proofs = Proofs()
    hook: Hook = Hook()
    policy: Policy = Policy()
    gateway: Gateway = Gateway()

    @classmethod
    def load(cls) -> Settings:
        """Reads `remit.toml` of the working directory (or `REMIT_CONFIG`) and the environment.

        Raises `Misconfigured`.
        """
        _refuse_unknown_variables()
        try:
            return cls().completed()
        except ValidationError as error:
            raise Misconfigured("\n".join(map(_sentence, error.errors()))) from error
        except ModuleMissing as error:
            raise Misconfigured(str(error)) from error
        except (OSError, TOMLDecodeError, UnicodeDecodeError) as error:
            raise Misconfigured(f"The configuration cannot be read: {error}.") from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file."""
        named = os.environ.get("REMIT_CONFIG")
        file = Path(named or "remit.toml")
        if named and not file.is_file():
            raise Misconfigured(f"REMIT_CONFIG names {file}, which is not there.")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)

    @field_validator("oid_arc")
    @classmethod
    def _check_arc(cls, value: str) -> str:
        # Go drops a connection over an arc of 2^31 or more, so 2.25.<uuid> is not one.
        if not _ARC.fullmatch(value):
            raise ValueError("must be an object identifier whose arcs are below 2^31")
        try:
            ObjectIdentifier(value)
        except ValueError as error:
            raise ValueError("is not an object identifier") from error
        return value

    @field_validator("listen", "status_listen")
    @classmethod
    def _check_listener(cls, value: str) -> str:
        return host_and_port(value)

    @model_validator(mode="after")
    def _check_workers(self) -> Settings:
        if self.workers > 1 and self.gateway.listen.startswith(UNIX):
            raise ValueError("gateway.listen must be host:port with several workers: they share a port, and no path")
        return self

    def completed(self) -> Settings:
        """The same settings with every default that follows from another one filled in."""
        home = self.home.absolute()
        return self.model_copy(
            update={
                "home": home,
                "database_url": self.database_url or f"sqlite:///{home / 'remit.db'}",
                "public_url": (self.public_url or f"https://{self.listen}").rstrip("/"),
                "status_url": (self.status_url or f"http://{self.status_listen}").rstrip("/"),
                "pkcs11": self.pkcs11.model_copy(
                    update={"module": self.module, "pin_file": self.pkcs11.pin_file or home / "pin"}
                ),
            }
        )

    @property
    def module(self) -> Path:
        """The PKCS#11 module, once `completed`."""
        return self.pkcs11.module or find_module()

    @property
    def pin_file(self) -> Path:
        """The file that holds the user's PIN, once `completed`."""
        return self.pkcs11.pin_file or self.home / "pin"

    @property
    def softhsm_directory(self) -> Path:
        """Where the embedded SoftHSM keeps its configuration and tokens."""
        return self.home / "token"


_ANY = "NAME"
"""Stands for what a table of sections is free to be named by."""


def _settings() -> set[str]:
    """Every setting by its dotted path."""
    return set(_paths(Settings, ()))


def _paths(section: type[BaseModel], above: tuple[str, ...]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        path, (kind, *of) = (*above, name), (field.annotation, *get_args(field.annotation))
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _paths(kind, path)
            continue
        yield ".".join(path)
        if of and isinstance(of[-1], type) and issubclass(of[-1], BaseModel):
            yield from _paths(of[-1], (*path, _ANY))


def _known_variables() -> set[str]:
    return {"REMIT_CONFIG"} | {f"REMIT_{key}".upper().replace(".", "__") for key in _settings()}


def _refuse_unknown_variables() -> None:
    for name in os.environ:
        if not name.startswith("REMIT_") or name in _FOREIGN:
            continue
        known = _named(_known_variables(), name.split("__"), "__")
        if name not in known:
            raise Misconfigured(f"The environment variable {name} is not known; {_nearest(name, known)}")


def _named(known: set[str], parts: list[str], joint: str) -> set[str]:
    """The known names with the one that was used here in place of `NAME`: `proofs.oidc.NAME.issuer`."""
    used = parts[2] if len(parts) > 3 else _ANY
    return {joint.join(used if part == _ANY else part for part in one.split(joint)) for one in known}


def _nearest(name: str, known: set[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}."


def _sentence(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        known = _named(_settings() | set(Settings.model_fields), key.split("."), ".")
        return f"The setting {key} is not known; {_nearest(key, known)}"
    return f"The setting {key} is wrong: {error['msg']}."
