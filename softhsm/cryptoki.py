"""The few calls of PKCS#11 that make a token, through ctypes: python-pkcs11 has no C_InitToken.

Names and numbers are those of PKCS #11 v2.40, which all exported symbols of SoftHSM follow. Used
by one thread of a process that exists for nothing else.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_ubyte, c_ulong
from pathlib import Path
from typing import Any, Self

_CKU_SO = 0
_CKF_RW_SESSION, _CKF_SERIAL_SESSION = 0x2, 0x4
_CKF_USER_PIN_INITIALIZED, _CKF_TOKEN_INITIALIZED = 0x8, 0x400

_ERRORS = {
    0x05: "SoftHSM reports a general error; look at the token directory and the system log",
    0x06: "SoftHSM could not write; look at the token directory and the disk",
    0xA0: "SoftHSM refused the security officer's PIN; put the right one into its file",
    0xA2: "a PIN must have 4 to 255 characters",
    0xA4: "the security officer's PIN is locked",
}


class CryptokiError(Exception):
    """A call that the module did not carry out: one sentence."""


class _TokenInfo(Structure):
    _fields_ = (
        ("label", c_ubyte * 32),
        ("manufacturer", c_ubyte * 32),
        ("model", c_ubyte * 16),
        ("serial", c_ubyte * 16),
        ("flags", c_ulong),
        ("counts_and_sizes", c_ulong * 10),
        ("versions", c_ubyte * 4),
        ("clock", c_ubyte * 16),
    )


class Cryptoki:
    """The module between C_Initialize and C_Finalize. Every method raises `CryptokiError`."""

    def __init__(self, module: Path) -> None:
        try:
            self._module = ctypes.CDLL(str(module))
        except OSError as error:
            raise CryptokiError(f"The module {module} cannot be loaded: {error}.") from error

    def __enter__(self) -> Self:
        self._call("C_Initialize", None)
        return self

    def __exit__(self, *_: object) -> None:
        self._call("C_Finalize", None)

    def slot_of(self, label: bytes) -> int | None:
        """The slot of the token with this label, or None."""
        padded = label.ljust(32)
        for slot in self._slots():
            info = self._info(slot)
            if info.flags & _CKF_TOKEN_INITIALIZED and bytes(info.label) == padded:
                return slot
        return None

    def free_slot(self) -> int:
        """The slot that SoftHSM keeps for the next token."""
        for slot in self._slots():
            if not self._info(slot).flags & _CKF_TOKEN_INITIALIZED:
                return slot
        raise CryptokiError("The module has no slot for a new token.")

    def user_pin_is_set(self, slot: int) -> bool:
        """Whether C_InitPIN was done: whether the token is finished."""
        return bool(self._info(slot).flags & _CKF_USER_PIN_INITIALIZED)

    def init_token(self, slot: int, so_pin: bytes, label: bytes) -> None:
        """C_InitToken: an empty token with a label of at most 32 octets, of the security officer alone."""
        self._call("C_InitToken", c_ulong(slot), so_pin, c_ulong(len(so_pin)), label.ljust(32))

    def init_pin(self, slot: int, so_pin: bytes, pin: bytes) -> None:
        """C_InitPIN, logged in as the security officer: gives the token its user."""
        session = c_ulong()
        flags = c_ulong(_CKF_SERIAL_SESSION | _CKF_RW_SESSION)
        self._call("C_OpenSession", c_ulong(slot), flags, None, None, byref(session))
        try:
            self._call("C_Login", session, c_ulong(_CKU_SO), so_pin, c_ulong(len(so_pin)))
            self._call("C_InitPIN", session, pin, c_ulong(len(pin)))
        finally:
            self._call("C_CloseSession", session)

    def _slots(self) -> list[int]:
        count = c_ulong()
        self._call("C_GetSlotList", c_ubyte(1), None, byref(count))
        slots = (c_ulong * count.value)()
        self._call("C_GetSlotList", c_ubyte(1), slots, byref(count))
        return list(slots[: count.value])

    def _info(self, slot: int) -> _TokenInfo:
        info = _TokenInfo()
        self._call("C_GetTokenInfo", c_ulong(slot), POINTER(_TokenInfo)(info))
        return info

    def _call(self, name: str, *arguments: Any) -> None:
        function = getattr(self._module, name)
        function.restype = c_ulong
        code = function(*arguments)
        if code != 0:
            raise CryptokiError(f"{_ERRORS.get(code, f'{name} failed with {code:#x}')}.")
