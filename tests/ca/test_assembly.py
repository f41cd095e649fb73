"""The list of publicly known keys as it is configured: case 31 from the operator's side."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ca import assembly
from ca.config import Certificates, Misconfigured, Settings
from tests.ca.pki.known import listed

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
