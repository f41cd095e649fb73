"""A real SoftHSM token for each test, and the owner over it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ca.hsm.owner import Owner
from ca.hsm.token import Token, open_token
from softhsm.configuration import use
from softhsm.initialise import ensure_token
from softhsm.locate import find_module

LABEL = "remit"


@dataclass(frozen=True)
class Home:
    """A token in a directory of its own. This process reads it at the next start of an owner."""

    path: Path

    @property
    def tokens(self) -> Path:
        return self.path / "token" / "tokens"

    @property
    def pulled(self) -> Path:
        return self.path / "token" / "pulled"

    @property
    def pin_file(self) -> Path:
        return self.path / "pin"

    def pin(self) -> str:
        return self.pin_file.read_text()

    def owner(self) -> Owner:
        return Owner(find_module(), LABEL, self.pin)

    def open(self) -> Token:
        """The token in this thread; not while an owner is open."""
        return open_token(find_module(), LABEL, self.pin())

    def pull(self) -> None:
        """Takes the token out of the machine."""
        self.tokens.rename(self.pulled)

    def plug(self) -> None:
        """Puts it back."""
        self.pulled.rename(self.tokens)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SOFTHSM2_CONF", "")  # restored afterwards
    ensure_token(tmp_path / "token", LABEL, tmp_path / "pin", tmp_path / "so-pin", find_module())
    use(find_module(), tmp_path / "token")
    return Home(tmp_path)


@pytest.fixture
def owner(home: Home) -> Iterator[Owner]:
    owner = home.owner()
    owner.start()
    yield owner
    owner.close()


@pytest.fixture
def token(home: Home) -> Iterator[Token]:
    token = home.open()
    yield token
    token.close()
