"""Sections of the configuration: what each is, and the listener for gateways, which has rules of its own."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

UNIX = "unix:"
"""Before the path of a socket in the file system."""

_LISTEN = re.compile(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{1,5})")
_HEADER = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")


class Section(BaseModel):
    """A part of the configuration: nothing in it but what is known, and it does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Gateway(Section):
    """Where proxies ask whether a call may pass (`ca.web.gateway`): `unix:/path` or host:port; nowhere without it.

    The client certificate stands in `certificate_header` as `certificate_form` says: `rfc9440`, `escaped-pem` of nginx,
    `xfcc` of Envoy. `resource` is what is guarded (RFC 8707): tasks that do not have it do not pass. Where
    authorization details of several types are in use, those of `details_type` say which calls are allowed.
    """

    listen: str = ""
    allow_public: bool = False
    certificate_header: str = Field(default="", max_length=64)
    certificate_form: Literal["rfc9440", "escaped-pem", "xfcc"] | None = None
    resource: str | None = None
    details_type: str | None = Field(default=None, min_length=1)

    @field_validator("certificate_header")
    @classmethod
    def _check_header(cls, value: str) -> str:
        # With an underscore, servers behind a proxy take it for another header than the proxy does.
        if value and not _HEADER.fullmatch(value):
            raise ValueError("must be the name of a header: letters, digits and hyphens")
        return value.lower()

    @model_validator(mode="after")
    def _check_listener(self) -> Gateway:
        if not self.listen:
            return self
        if not self.certificate_header or self.certificate_form is None:
            raise ValueError("listen needs certificate_header and certificate_form: which one it is, is never guessed")
        if self.listen.startswith(UNIX):
            if not self.listen.startswith(f"{UNIX}/"):
                raise ValueError("listen must be unix: and an absolute path, or host:port")
            return self
        host, _ = split_listener(host_and_port(self.listen))
        if not self.allow_public and not _is_loopback(host):
            raise ValueError(
                f"listen is {self.listen}, which others can reach, and whoever reaches it names any certificate in a "
                "header; take a loopback address or unix:/path, or set allow_public where the network lets in nobody "
                "but the gateway"
            )
        return self


def host_and_port(value: str) -> str:
    """The same. Raises `ValueError`."""
    match = _LISTEN.fullmatch(value)
    if match is None or not 0 < int(match[2]) < 65536:
        raise ValueError("must be host:port")
    return value


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def split_listener(listener: str) -> tuple[str, int]:
    """`host:port` to its halves; an IPv6 address stands in brackets."""
    host, _, port = listener.rpartition(":")
    return host.strip("[]"), int(port)
