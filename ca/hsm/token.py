"""Opening a token: load the module, find the token, log in once. Called by the owner's thread alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pkcs11
from pkcs11 import PKCS11Error, TokenFlag, exceptions

from ca.hsm import locking
from ca.hsm.signer import TokenFault

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib as Library  # noqa: N812 (a class, whatever its name)

_PIN_FAULTS = (
    exceptions.PinExpired,
    exceptions.PinIncorrect,
    exceptions.PinInvalid,
    exceptions.PinLenRange,
    exceptions.PinLocked,
    exceptions.UserPinNotInitialized,
)


class PinRefused(TokenFault):
    """The token did not take the PIN. The same PIN must not be tried again: each try brings the lock nearer."""


class Token:
    """A token that is open and logged in, until `close`.

    The login belongs to the whole process and ends with the first session, so that session stays
    open for as long as the token does.
    """

    def __init__(self, library: Library, login: pkcs11.Session) -> None:
        self._library = library
        self.session = login

    @contextmanager
    def writing(self) -> Iterator[pkcs11.Session]:
        """A second session, which may make objects; it shares the login, and closing it logs nobody out."""
        session = self.session.token.open(rw=True)
        try:
            yield session
        finally:
            session.close()

    def session_beside(self) -> pkcs11.Session:
        """One more session for one more thread; it shares the login, and closing it logs nobody out."""
        return self.session.token.open()

    def close(self) -> None:
        """Ends every session of this process with the module, leaked and lost ones too.

        The next `open_token` initialises the module anew, which is the only recovery that every
        module understands.
        """
        _finalise(self._library)


def open_token(module: Path, label: str, pin: str) -> Token:
    """Initialises the module for one thread, finds the one token with this label and logs in, with one attempt.

    Raises `PinRefused` or another `TokenFault`; then the module is finalised again.
    """
    return _open(_load(module), label, pin)


def open_token_for_threads(module: Path, label: str, pin: str) -> Token:
    """The same, with the module initialised for calls from any number of threads, one session each."""
    library = _load(module)
    try:
        locking.initialise_anew(module)
    except locking.NotLockable as error:
        _finalise(library)
        raise TokenFault(
            f"The PKCS#11 module {module} cannot be used with several sessions ({error}); set pkcs11.sessions to 1."
        ) from error
    return _open(library, label, pin)


def _open(library: Library, label: str, pin: str) -> Token:
    try:
        return Token(library, _log_in(_find(library, label), pin))
    except PKCS11Error as error:
        _finalise(library)
        raise TokenFault(
            f"The token {label!r} cannot be opened ({type(error).__name__}); look at its state."
        ) from error
    except TokenFault:
        # A refused login leaves its session open; ending the module's work takes it along.
        _finalise(library)
        raise


def _load(module: Path) -> Library:
    try:
        return pkcs11.lib(str(module))
    except PKCS11Error as error:
        raise TokenFault(
            f"The PKCS#11 module {module} cannot be started ({str(error) or type(error).__name__}); "
            "check REMIT_PKCS11__MODULE and that the token's directory is there."
        ) from error


def _finalise(library: Library) -> None:
    # A module that lost its device may fail here as well; for us it is finalised either way.
    with suppress(PKCS11Error):
        library.finalize()


def _find(library: Library, label: str) -> pkcs11.Token:
    try:
        return library.get_token(token_label=label)
    except exceptions.NoSuchToken as error:
        raise TokenFault(f"There is no token labelled {label!r}; insert it, or run `remit init`.") from error
    except exceptions.MultipleTokensReturned as error:
        raise TokenFault(f"There are several tokens labelled {label!r}; labels must be unique.") from error


def _log_in(token: pkcs11.Token, pin: str) -> pkcs11.Session:
    """One attempt, and none at all when a wrong PIN would lock the token.

    A supervisor starts a failed process again and again; without this the last try would be ours.
    """
    if token.flags & (TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.USER_PIN_LOCKED):
        raise TokenFault(
            f"The PIN of the token {token.label!r} is locked or has one try left; log in once by hand, or unlock it."
        )
    try:
        return token.open(user_pin=pin)
    except _PIN_FAULTS as error:
        raise PinRefused(
            f"The token {token.label!r} refused the PIN ({type(error).__name__}); put the right one into the PIN file. "
            "It was tried once and will not be tried again."
        ) from error
