"""Initialising a module for calls from several threads, which python-pkcs11 cannot: it passes C_Initialize no flags.

Through ctypes, and only what that takes. The types are those of PKCS #11 v2.40 on Unix, which every
later version's first function list follows.
"""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_ubyte, c_ulong, c_void_p
from pathlib import Path

CKF_OS_LOCKING_OK = 0x2
_CKR_CANT_LOCK = 0x0A


class NotLockable(Exception):  # noqa: N818 (said to a person)
    """The module did not agree to be called by several threads: why, in a few words."""


class _InitializeArgs(Structure):
    """CK_C_INITIALIZE_ARGS (5.4): without functions of ours the module uses the locks of the operating system."""

    _fields_ = (("functions", c_void_p * 4), ("flags", c_ulong), ("reserved", c_void_p))


_Call = CFUNCTYPE(c_ulong, c_void_p)


class _FunctionList(Structure):
    """The beginning of CK_FUNCTION_LIST (5.3)."""

    _fields_ = (("version", c_ubyte * 2), ("initialize", _Call), ("finalize", _Call))


def initialise_anew(module: Path) -> None:
    """Finalises the module and initialises it with CKF_OS_LOCKING_OK. No thread may be in it, and no session is left.

    Raises `NotLockable`; then the module is not initialised.
    """
    functions = _functions(module)
    # python-pkcs11 must have initialised it, or its own state would be wrong; that one is taken back first.
    functions.finalize(None)
    arguments = _InitializeArgs(flags=CKF_OS_LOCKING_OK)
    code = functions.initialize(ctypes.addressof(arguments))
    if code == _CKR_CANT_LOCK:
        raise NotLockable("it cannot be called by several threads")
    if code != 0:
        raise NotLockable(f"C_Initialize failed with {code:#x}")


def _functions(module: Path) -> _FunctionList:
    try:
        library = ctypes.CDLL(str(module))
    except OSError as error:
        raise NotLockable(str(error)) from error
    # Of all functions a module need export this one alone.
    library.C_GetFunctionList.restype = c_ulong
    found = POINTER(_FunctionList)()
    code = library.C_GetFunctionList(byref(found))
    if code != 0:
        raise NotLockable(f"C_GetFunctionList failed with {code:#x}")
    return found.contents
