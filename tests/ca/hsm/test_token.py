"""Opening a token: one attempt, nothing left behind."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pkcs11 import TokenFlag, exceptions

from ca.hsm import token as room
from ca.hsm.signer import TokenFault
from ca.hsm.token import PinRefused, Token, open_token
from ca.refusals import Reason
from softhsm.initialise import ensure_token
from softhsm.locate import find_module

from .conftest import LABEL, Home


def test_it_opens_after_it_was_closed(home: Home) -> None:
    for _ in range(3):
        token = home.open()
        assert token.session.token.label == LABEL
        token.close()


def test_closing_the_second_session_logs_nobody_out(token: Token) -> None:
    with token.writing() as session:
        assert session.rw
    with pytest.raises(exceptions.UserAlreadyLoggedIn):
        token.session.token.open(user_pin="anything")


def test_a_thousand_refused_pins_leave_nothing_behind(home: Home) -> None:
    for _ in range(1000):
        with pytest.raises(PinRefused, match="was tried once"):
            open_token(find_module(), LABEL, "wrong pin")
    token = home.open()
    # A leaked session would have taken the first handles.
    assert token.session.handle <= 2
    token.close()


class FakeToken(SimpleNamespace):
    """A token as `_log_in` sees it: SoftHSM never locks, so what a lock looks like is played."""

    def __init__(self, flags: TokenFlag, fault: Exception | None = None) -> None:
        super().__init__(label=LABEL, flags=flags, fault=fault, attempts=0)

    def open(self, user_pin: str) -> str:
        self.attempts += 1
        if self.fault:
            raise self.fault
        return user_pin


@pytest.mark.parametrize("flag", [TokenFlag.USER_PIN_FINAL_TRY, TokenFlag.USER_PIN_LOCKED])
def test_the_last_try_is_never_ours(flag: TokenFlag) -> None:
    token: Any = FakeToken(flag)
    with pytest.raises(TokenFault, match="one try left") as caught:
        room._log_in(token, "1234")
    assert token.attempts == 0
    # It may be tried again once a person has logged in: the PIN itself was not refused.
    assert not isinstance(caught.value, PinRefused)


@pytest.mark.parametrize("fault", [exceptions.PinIncorrect(), exceptions.PinLocked(), exceptions.PinExpired()])
def test_every_refusal_of_a_pin_is_one(fault: Exception) -> None:
    token: Any = FakeToken(TokenFlag(0), fault)
    with pytest.raises(PinRefused, match=type(fault).__name__):
        room._log_in(token, "1234")
    assert token.attempts == 1


def test_a_fault_is_no_refusal_of_the_pin(home: Home) -> None:
    home.pull()
    with pytest.raises(TokenFault, match="cannot be started") as caught:
        home.open()
    assert not isinstance(caught.value, PinRefused)
    home.plug()
    home.open().close()


def test_a_missing_token_says_how_to_make_it(home: Home) -> None:
    with pytest.raises(TokenFault, match="no token labelled 'other'; insert it, or run `remit init`"):
        open_token(find_module(), "other", home.pin())


def test_two_tokens_of_one_label_are_refused(home: Home, tmp_path: Path) -> None:
    second = tmp_path / "second"
    ensure_token(second, LABEL, home.pin_file, tmp_path / "so-pin", find_module())
    for entry in (second / "tokens").iterdir():
        entry.rename(home.tokens / entry.name)
    with pytest.raises(TokenFault, match="several tokens labelled"):
        home.open()


def test_what_is_no_module_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "module.so").write_text("not a library")
    with pytest.raises(TokenFault, match=r"module\.so cannot be started .*REMIT_PKCS11__MODULE"):
        open_token(tmp_path / "module.so", LABEL, "1234")


def test_what_callers_of_the_api_read_names_no_path_and_no_label(home: Home) -> None:
    with pytest.raises(TokenFault) as caught:
        open_token(find_module(), "secret-label", home.pin())
    assert caught.value.reason is Reason.UNAVAILABLE
    assert "secret-label" not in caught.value.detail
    assert "secret-label" in str(caught.value)
