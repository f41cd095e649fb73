"""A PKCS#11 module that does wrong on demand: `shim.c` over SoftHSM, and the test's hand on it.

    shim = Shim(tmp_path)                        # compiled once a session; needs `cc`
    World(directory, **shim.environment)         # a real server signs through it, or:
    shim.use(monkeypatch); Owner(shim.module, ...)
    shim.fail(Fault.FLIP, times=1, skip=10)      # the eleventh signature from now is wrong
    shim.pull(); shim.plug()                     # the token goes and comes back; sessions of before are dead
    shim.counts().login, shim.signed()

The faults apply to every process that shares the environment, or to one (`confine`). Signatures that
the authority makes to test a key pass through it as well.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cache
from hashlib import sha256, sha384
from pathlib import Path

import pytest

from softhsm.locate import find_module

_SOURCE = Path(__file__).with_name("shim.c")
_NAME = "libsofthsm2_faults.so"  # by this name it is taken for the SoftHSM that it is
_RESULT = 0x1000


class Fault(IntEnum):
    """What happens to a signature. Those above 0x1000 are results of C_SignInit, and nothing is signed."""

    FLIP = 1
    """One bit of the signature is wrong."""
    EMPTY = 2
    """The signature has no octets."""
    OTHER_KEY = 3
    """Another private key of the token signs, as when a handle came to name it."""
    SWAP = 4
    """The halves of the signature change places: r and s of ECDSA."""
    OTHER_BYTES = 5
    """Something else than what was given is signed."""
    KILL_BEFORE = 6
    """SIGKILL before the key is used. It is in the log."""
    KILL_AFTER = 7
    """SIGKILL after the key was used, before anyone knows."""
    GENERAL_ERROR = _RESULT + 0x05
    DEVICE_ERROR = _RESULT + 0x30
    DEVICE_REMOVED = _RESULT + 0x32
    OBJECT_HANDLE_INVALID = _RESULT + 0x82
    SESSION_CLOSED = _RESULT + 0xB0
    """The session is dead from then on, as after an idle time; others live."""
    SESSION_HANDLE_INVALID = _RESULT + 0xB3
    """Likewise."""
    USER_NOT_LOGGED_IN = _RESULT + 0x101


@dataclass(frozen=True, slots=True)
class Counts:
    """How often what was called, by all processes with this state."""

    initialize: int
    initialize_flags: int
    """Those of the last C_Initialize; 0 for C_Initialize(NULL)."""
    finalize: int
    login: int
    logout: int
    open_session: int
    close_session: int
    sign: int
    """Signatures that the real module made."""
    injected: int
    """Faults of `fail` that happened."""
    open_now: int
    """Sessions that are open. A killed process never closes its own."""
    signing_peak: int
    """The most threads of one process that were in C_Sign at the same time."""
    unlocked: int
    """Calls while another thread was in a module that was not initialised for threads: must be 0."""


# The same order as `enum word` in shim.c.
_CONTROLS = ("fault", "remaining", "skip", "delay", "absent", "epoch", "hang", "only_pid", "unlockable")
_WORDS = (*_CONTROLS, *(field.name for field in fields(Counts)))


@dataclass(frozen=True, slots=True)
class Signed:
    """What the module was given to sign: for ECDSA a digest, else the message itself."""

    pid: int
    mechanism: int
    label: str
    data: bytes

    def is_over(self, message: bytes) -> bool:
        """Whether this is a signature over `message`."""
        return self.data in (message, sha256(message).digest(), sha384(message).digest())

    @property
    def is_proof(self) -> bool:
        """Whether the authority tested its key with this. It cannot be told where only a digest is here: of ECDSA."""
        return self.data.startswith(b"Remit proves that this key is in the token: ")


class Shim:
    """One module with a state and a log of its own, in `directory`; `real` is what it passes calls on to."""

    def __init__(self, directory: Path, real: Path | None = None) -> None:
        self.module = directory / _NAME
        self._log = directory / "signed.log"
        self.module.write_bytes(_compiled())
        state = directory / "state"
        state.write_bytes(bytes(8 * len(_WORDS)))
        with state.open("r+b") as file:
            self._words = mmap.mmap(file.fileno(), 0)
        self.environment = {
            "REMIT_PKCS11__MODULE": str(self.module),
            "PKCS11_FAULTS_MODULE": str(real or find_module()),
            "PKCS11_FAULTS_STATE": str(state),
            "PKCS11_FAULTS_LOG": str(self._log),
        }

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For a module that is loaded into this process, from now on."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def fail(self, fault: Fault, times: int | None = None, skip: int = 0) -> None:
        """Lets `skip` signatures pass, then spoils `times` of them, or all until `clear`."""
        self._put("fault", 0)
        self._put("skip", skip)
        self._put("remaining", -1 if times is None else times)
        self._put("fault", fault)

    def slow(self, seconds: float) -> None:
        """Each signature takes so much longer; sessions wait side by side."""
        self._put("delay", round(seconds * 1_000_000))

    def hang(self) -> None:
        """Calls that sign do not return until `clear`."""
        self._put("hang", 1)

    def hang_everywhere(self) -> None:
        """No call returns until `clear`."""
        self._put("hang", 2)

    def pull(self) -> None:
        """The token is absent until `plug`; every session that there was is dead for good."""
        self.expire()
        self._put("absent", 1)

    def plug(self) -> None:
        """The token is there again."""
        self._put("absent", 0)

    def expire(self) -> None:
        """Every session that is open is dead, and the login with them, as after a token's own restart."""
        self._put("epoch", self._value("epoch") + 1)

    def confine(self, pid: int) -> None:
        """Only this process meets faults; 0 for every one."""
        self._put("only_pid", pid)

    def refuse_threads(self, result: int) -> None:
        """C_Initialize with CKF_OS_LOCKING_OK has this result, such as CKR_CANT_LOCK (0x0a)."""
        self._put("unlockable", result)

    def clear(self) -> None:
        """Nothing is wrong any more. Counts and the log stay."""
        for name in ("fault", "delay", "absent", "hang", "only_pid", "unlockable", "remaining", "skip"):
            self._put(name, 0)

    def counts(self) -> Counts:
        """The counts now."""
        return Counts(*(self._value(field.name) for field in fields(Counts)))

    def signed(self) -> list[Signed]:
        """Every message that a key was used on, in order, also by processes that were killed."""
        if not self._log.exists():
            return []
        return [_signed(line) for line in self._log.read_text().splitlines()]

    def _put(self, word: str, value: int) -> None:
        struct.pack_into("=q", self._words, 8 * _WORDS.index(word), value)

    def _value(self, word: str) -> int:
        return int(struct.unpack_from("=q", self._words, 8 * _WORDS.index(word))[0])


def _signed(line: str) -> Signed:
    pid, mechanism, label, data = line.split(" ")
    return Signed(int(pid), int(mechanism, 16), bytes.fromhex(label).decode(), bytes.fromhex(data))


@cache
def _compiled() -> bytes:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / _NAME
        command = [compiler, "-std=gnu11", "-O1", "-Wall", "-shared", "-fPIC", "-o", str(made), str(_SOURCE)]
        subprocess.run([*command, "-ldl", "-lpthread"], check=True, timeout=60)
        return made.read_bytes()
