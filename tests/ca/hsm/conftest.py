"""A real SoftHSM token for each test, and the owner over it; with a shim between them where faults are wanted."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ca.hsm.calls import Limits
from ca.hsm.owner import Owner
from ca.hsm.token import Token, open_token
from ca.pki.keys import PublicKey, verify
from softhsm.configuration import use
from softhsm.initialise import ensure_token
from softhsm.locate import find_module
from tests.faults.shim import Shim

LABEL = "remit"


@dataclass(frozen=True)
class Home:
    """A token in a directory of its own. This process reads it at the next start of an owner."""

    path: Path
    module: Path

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

    def owner(self, sessions: int = 1, limits: Limits | None = None) -> Owner:
        return Owner(self.module, LABEL, self.pin, sessions, limits)

    def open(self) -> Token:
        """The token in this thread; not while an owner is open."""
        return open_token(self.module, LABEL, self.pin())

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
    return Home(tmp_path, find_module())


@pytest.fixture
def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shim]:
    (tmp_path / "shim").mkdir()
    shim = Shim(tmp_path / "shim")
    shim.use(monkeypatch)
    yield shim
    shim.clear()


@pytest.fixture
def faulty(home: Home, shim: Shim) -> Home:
    """The same token behind a module that does wrong on demand."""
    return replace(home, module=shim.module)


def until(condition: Callable[[], bool], seconds: float = 5.0) -> float:
    """Waits, and returns how many seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} seconds"
        time.sleep(0.01)
    return time.monotonic() - began


def signs(owner: Owner, public_key: PublicKey) -> bool:
    """Whether a signature comes; one that comes must verify."""
    future = owner.sign(public_key, [b"m"])
    if future.exception(timeout=5) is not None:
        return False
    verify(public_key, future.result()[0], b"m")
    return True


@contextmanager
def started(owner: Owner) -> Iterator[Owner]:
    """The owner, open for a block."""
    owner.start()
    try:
        yield owner
    finally:
        owner.close()


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
