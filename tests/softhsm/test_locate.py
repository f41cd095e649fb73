"""Where SoftHSM is."""

from pathlib import Path

import pytest

from softhsm.locate import ModuleMissing, find_module, is_softhsm


def test_this_machine_has_it() -> None:
    assert find_module().is_file()


def test_the_first_place_that_has_it_wins(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("none", "first", "second")]
    for place in places[1:]:
        place.mkdir()
        (place / "libsofthsm2.so").touch()
    assert find_module(places) == tmp_path / "first" / "libsofthsm2.so"


def test_where_there_is_none_it_says_what_to_install() -> None:
    with pytest.raises(ModuleMissing, match="apt install libsofthsm2"):
        find_module([])


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("/usr/lib/softhsm/libsofthsm2.so", True),
        ("/opt/x/libsofthsm2.dylib", True),
        ("/usr/lib/opensc-pkcs11.so", False),
        ("/home/libsofthsm2/other.so", False),
    ],
)
def test_it_knows_softhsm_by_the_file_name(module: str, expected: bool) -> None:
    assert is_softhsm(Path(module)) is expected
