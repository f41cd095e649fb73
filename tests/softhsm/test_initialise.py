"""Making the token, in its child process."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from softhsm.initialise import InitialisationFailed, ensure_token
from softhsm.locate import find_module

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    home: Path

    def ensure(self, label: str = "remit") -> None:
        ensure_token(self.directory, label, self.pin, self.so_pin, find_module())

    @property
    def directory(self) -> Path:
        return self.home / "token"

    @property
    def pin(self) -> Path:
        return self.home / "pin"

    @property
    def so_pin(self) -> Path:
        return self.home / "so-pin"

    def tokens(self) -> dict[str, bytes]:
        found = sorted((self.directory / "tokens").glob("*/token.object"))
        return {file.parent.name: file.read_bytes() for file in found}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_it_makes_a_token_with_two_different_private_pins(place: Place) -> None:
    place.ensure()
    pins = [place.pin.read_text(), place.so_pin.read_text()]
    assert all(re.fullmatch(r"[0-9a-f]{32}", pin) for pin in pins)
    assert pins[0] != pins[1]
    assert {file.stat().st_mode & 0o777 for file in (place.pin, place.so_pin)} == {0o600}
    assert len(place.tokens()) == 1


def test_a_token_that_is_there_is_left_alone(place: Place) -> None:
    place.ensure()
    before = place.tokens(), place.pin.read_text(), place.so_pin.read_text()
    place.ensure()
    assert (place.tokens(), place.pin.read_text(), place.so_pin.read_text()) == before


def test_pins_that_are_there_are_used(place: Place) -> None:
    place.pin.write_text("my own pin\n")
    place.ensure()
    assert place.pin.read_text() == "my own pin\n"
    assert _logs_in(place, "my own pin")


def test_a_second_label_is_a_second_token(place: Place) -> None:
    place.ensure("one")
    place.ensure("two")
    assert len(place.tokens()) == 2


def test_two_first_runs_at_once_make_one_token(place: Place) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(place.ensure) for _ in range(4)]:
            done.result()
    assert len(place.tokens()) == 1
    assert _logs_in(place, place.pin.read_text())


def test_a_run_that_died_between_token_and_pin_is_finished(place: Place) -> None:
    died = """
from pathlib import Path
import softhsm.cryptoki, sys
softhsm.cryptoki.Cryptoki.init_pin = lambda *_: sys.exit("killed")
from softhsm.initialise import main
main()
"""
    arguments = [f"--directory={place.directory}", "--label=remit", f"--pin-file={place.pin}"]
    command = [sys.executable, "-c", died, *arguments, f"--so-pin-file={place.so_pin}"]
    first = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=False)
    assert first.stderr.strip() == "killed"
    before = place.tokens()
    place.ensure()
    assert place.tokens().keys() == before.keys()
    assert _logs_in(place, place.pin.read_text())


def test_a_lost_pin_file_is_not_replaced_by_a_wrong_one(place: Place) -> None:
    place.ensure()
    place.pin.unlink()
    with pytest.raises(InitialisationFailed, match=r"PIN file .* is not; restore the file"):
        place.ensure()
    assert not place.pin.exists()


def test_an_empty_pin_file_is_refused(place: Place) -> None:
    place.pin.write_text("\n")
    with pytest.raises(InitialisationFailed, match="is empty"):
        place.ensure()
    assert place.tokens() == {}


@pytest.mark.parametrize("label", ["", "x" * 33, "ü" * 17])
def test_a_label_that_does_not_fit_is_refused(place: Place, label: str) -> None:
    with pytest.raises(InitialisationFailed, match="1 to 32 octets"):
        place.ensure(label)
    assert place.tokens() == {}


def test_what_is_no_module_is_said_in_one_sentence(place: Place) -> None:
    with pytest.raises(InitialisationFailed) as caught:
        ensure_token(place.directory, "remit", place.pin, place.so_pin, place.so_pin.with_name("libsofthsm2.so"))
    assert "cannot be loaded" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_another_makers_module_is_not_touched(place: Place) -> None:
    with pytest.raises(InitialisationFailed, match="is not SoftHSM; make its token with its maker's tools"):
        ensure_token(place.directory, "remit", place.pin, place.so_pin, Path("/usr/lib/vendor.so"))
    assert list(place.home.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_said_in_one_sentence(place: Place) -> None:
    place.directory.write_text("a file stands here")
    with pytest.raises(InitialisationFailed, match=r"Not a directory|File exists"):
        place.ensure()


def _logs_in(place: Place, pin: str) -> bool:
    script = """
import sys
from pathlib import Path
from ca.hsm.token import open_token
from softhsm.configuration import use
from softhsm.locate import find_module
use(find_module(), Path(sys.argv[1]))
open_token(find_module(), "remit", sys.stdin.read()).close()
"""
    command = [sys.executable, "-c", script, str(place.directory)]
    return subprocess.run(command, cwd=CHECKOUT, input=pin, text=True, timeout=30, check=False).returncode == 0
