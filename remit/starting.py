"""From what a program says, or its environment, to a holder of a credential and the TLS context that presents it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import TypedDict

from remit.authority import Authority
from remit.credential import Credential
from remit.failed import Failed
from remit.files import Foreign
from remit.holder import Holder
from remit.proof import Proofs
from remit.tls import LiveContext, Verify

CA, FINGERPRINT, TOKEN = "REMIT_CA", "REMIT_ROOT_FINGERPRINT", "REMIT_ENROLLMENT_TOKEN"


class Options(TypedDict, total=False):
    """How an agent is enrolled. Whatever is left out is read from the environment, or not asked for.

    - `root`: the authority's root certificate, a file or PEM; or `root_fingerprint` (`REMIT_ROOT_FINGERPRINT`): its
      SHA-256, which costs one more round trip.
    - `token` (`REMIT_ENROLLMENT_TOKEN`); or `token_file`, read anew at each enrolment, such as a projected token of
      Kubernetes; or `proof`, a function that gives one.
    - `task`, `scope`, `not_after`: what is asked for, if not all that may be had.
    - `dir`: keeps key and certificate there (`tls.key`, `tls.crt`, `ca.crt`) and goes on with them at the next start.
      Without it they are in memory alone.
    - `verify`: the roots that servers are verified by, a file or PEM; the system's without it. The authority itself
      is verified by its own root in any case.
    - `wait`: for how many seconds a busy or absent authority is tried, 30 without it.
    """

    root: str | Path | bytes
    root_fingerprint: str
    token: str
    token_file: str | Path
    proof: Callable[[], str]
    task: str
    scope: str
    not_after: datetime
    dir: str | Path
    verify: Verify
    wait: float


@dataclass(frozen=True, slots=True)
class Started:
    """A running holder, the context that it keeps up to date, and by what servers are verified."""

    holder: Holder
    context: LiveContext
    verify: Verify


def start(ca_url: str | None, options: Options) -> Started:
    """Enrols, or goes on with what is in `dir`, and starts to renew. Raises `Failed`."""
    try:
        return _start(ca_url, options)
    except (OSError, Foreign, ValueError) as error:
        raise Failed(f"This agent cannot start: {error}") from error


def start_with(authority: Authority, credential: Credential, verify: Verify) -> Started:
    """Goes on with a credential that is there already. Raises `Failed`."""
    context = LiveContext.verifying(verify)
    context.trust()
    context.present(credential.key, credential.chain)
    holder = Holder(authority, Proofs(None), credential=credential, install=_presenting(context))
    holder.start()
    return Started(holder, context, verify)


def _start(ca_url: str | None, options: Options) -> Started:
    verify = options.get("verify", True)
    context = LiveContext.verifying(verify)
    holder = Holder(
        _authority(ca_url, options),
        Proofs(_proof(options)),
        asked=_asked(options),
        directory=Path(options["dir"]) if "dir" in options else None,
        install=_presenting(context),
    )
    trusting = Thread(target=context.trust, name="remit-trust")
    trusting.start()
    try:
        holder.obtain(options.get("wait", 30.0))
    finally:
        trusting.join()
    holder.start()
    return Started(holder, context, verify)


def _presenting(context: LiveContext) -> Callable[[Credential], None]:
    return lambda credential: context.present(credential.key, credential.chain)


def _authority(ca_url: str | None, options: Options) -> Authority:
    url = ca_url or os.environ.get(CA)
    if not url:
        raise Failed(f"Give the authority's URL, or set {CA}.")
    root = options.get("root")
    if isinstance(root, str | Path):
        root = Path(root).read_bytes()
    fingerprint = options.get("root_fingerprint") or (os.environ.get(FINGERPRINT) if root is None else None)
    if root is None and not fingerprint:
        raise Failed(f"Give root= or root_fingerprint=, or set {FINGERPRINT}: the token goes to nobody else.")
    return Authority(url, root=root, root_fingerprint=fingerprint)


def _proof(options: Options) -> str | Path | Callable[[], str] | None:
    given = [name for name in ("token", "token_file", "proof") if name in options]
    if len(given) > 1:
        raise Failed(f"Give one of {' and '.join(f'{name}=' for name in given)}, not both.")
    if "token_file" in options:
        return Path(options["token_file"])
    return options.get("proof") or options.get("token") or os.environ.get(TOKEN)


def _asked(options: Options) -> dict[str, str | None]:
    end = options.get("not_after")
    if end is not None and end.tzinfo is None:
        raise Failed("not_after needs a time zone.")
    return {
        "task": options.get("task"),
        "scope": options.get("scope"),
        "not_after": end.isoformat() if end else None,
    }
