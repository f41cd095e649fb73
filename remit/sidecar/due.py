"""Whether a certificate on disk is due to be renewed, as a script asks before it acts."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from remit import files
from remit.credential import Credential
from remit.failed import Failed

_SHARE = 2 / 3
"""Of a certificate's life, where nobody said when it is to be renewed."""

_LIMIT = re.compile(r"(?:(\d+)([smhd])|(100|[1-9]?\d)%)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def judge(where: Path, expires_in: str | None, now: datetime) -> tuple[bool, str]:
    """Whether it is due, and a sentence that says when. `expires_in` is a duration, or a share of its life in percent.

    Raises `FileNotFoundError` where there is none, `OSError`, `ValueError`.
    """
    file = where / files.CERTIFICATE if where.is_dir() else where
    try:
        leaf = x509.load_pem_x509_certificates(file.read_bytes())[0]
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no certificate at {file}.") from None
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if expires_in is not None:
        at = end - _limit(expires_in, end - begin)
    else:
        at = _said(where) or begin + (end - begin) * _SHARE
    sentence = f"Due {'since' if now >= at else 'at'} {_rfc3339(at)}; it ends at {_rfc3339(end)}."
    return now >= at, sentence


def _limit(text: str, life: timedelta) -> timedelta:
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is neither a duration such as 5m nor a share such as 25%.")
    number, unit, percent = match.groups()
    return life * int(percent) / 100 if percent else timedelta(**{_UNITS[unit]: int(number)})


def _said(where: Path) -> datetime | None:
    """When the authority said that it is to be renewed, if the directory is one of ours."""
    found = files.read(where) if where.is_dir() else None
    if found is None:
        return None
    try:
        return Credential.from_files(found).renew_after
    except (Failed, json.JSONDecodeError):
        return None


def _rfc3339(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
