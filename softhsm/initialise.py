"""Makes the token: `python -m softhsm.initialise --directory D --label L --pin-file F --so-pin-file F [--module M]`.

    step                       if we die after it
    1 PIN files (0600)         the next run uses them as they are
    2 configuration            written anew
    3 C_InitToken (SO PIN)     the next run finds a token without a user PIN and goes on with 4
    4 C_InitPIN (user PIN)     done: the next run leaves the token alone

The module is loaded in a child process, since whoever calls this may load it later with another
configuration. PINs are read from files, so they are in no argument, environment or log.
"""

from __future__ import annotations

import argparse
import fcntl
import secrets
import subprocess
import sys
from pathlib import Path

from softhsm.configuration import use, write_configuration
from softhsm.cryptoki import Cryptoki, CryptokiError
from softhsm.locate import ModuleMissing, find_module, is_softhsm
from softhsm.private_file import write_private

_PIN_OCTETS = 16  # as 32 hexadecimal digits
_TIMEOUT = 60  # seconds; it takes 20 ms


class InitialisationFailed(Exception):  # noqa: N818 (said to a person as it is)
    """The token was not made: one sentence, with the mend where there is one."""


def ensure_token(directory: Path, label: str, pin_file: Path, so_pin_file: Path, module: Path | None = None) -> None:
    """Makes the token labelled `label` in `directory`, with its PIN files, unless it is there already.

    `label` has 1 to 32 octets of UTF-8 (PKCS #11 v3.0, C_InitToken). May be repeated, and be run by several
    processes at once. Raises `InitialisationFailed`.
    """
    arguments = {
        "--directory": directory.absolute(),
        "--label": label,
        "--pin-file": pin_file.absolute(),
        "--so-pin-file": so_pin_file.absolute(),
    }
    if module is not None:
        arguments["--module"] = module.absolute()
    command = [sys.executable, "-m", __spec__.name, *(f"{name}={value}" for name, value in arguments.items())]
    _run(command)


def _run(command: list[str]) -> None:
    checkout = Path(__file__).parent.parent
    try:
        done = subprocess.run(  # noqa: S603 (our own module, and arguments without a shell)
            command, cwd=checkout, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InitialisationFailed(f"SoftHSM did not answer within {_TIMEOUT} seconds; run it again.") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
        raise InitialisationFailed(f"The token could not be made: {last}")


def _initialise(module: Path, label: str, pin_file: Path, so_pin_file: Path) -> None:
    """Steps 1, 3 and 4, in the process that reads the configuration of step 2."""
    name = label.encode()
    if not 1 <= len(name) <= 32:
        raise ValueError("The token's label must have 1 to 32 octets.")
    with Cryptoki(module) as cryptoki:
        slot = cryptoki.slot_of(name)
        if slot is not None and cryptoki.user_pin_is_set(slot):
            _read_pin(pin_file)
            return
        so_pin, pin = _pin(so_pin_file), _pin(pin_file)
        if slot is None:
            cryptoki.init_token(cryptoki.free_slot(), so_pin, name)
    # SoftHSM gives a new token another slot once it reads its directory again.
    with Cryptoki(module) as cryptoki:
        slot = cryptoki.slot_of(name)
        if slot is None:
            raise CryptokiError("SoftHSM does not show the token that it made; look at the token directory.")
        cryptoki.init_pin(slot, so_pin, pin)


def _pin(file: Path) -> bytes:
    """The PIN in `file`, which is made with a random one if it is not there: on disk before the token gets it."""
    if not file.exists():
        write_private(file, secrets.token_hex(_PIN_OCTETS))
    return _read_pin(file)


def _read_pin(file: Path) -> bytes:
    try:
        pin = file.read_bytes().strip()
    except FileNotFoundError:
        raise ValueError(f"The token is there but its PIN file {file} is not; restore the file.") from None
    if not pin:
        raise ValueError(f"The PIN file {file} is empty; write the token's PIN into it.")
    return pin


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m softhsm.initialise", description="Makes a SoftHSM token once.")
    parser.add_argument("--directory", type=Path, required=True, help="holds the configuration and the tokens")
    parser.add_argument("--label", required=True, help="the token's label, at most 32 octets")
    parser.add_argument("--pin-file", type=Path, required=True, help="the user PIN; made if it is missing")
    parser.add_argument("--so-pin-file", type=Path, required=True, help="the security officer's PIN; made likewise")
    parser.add_argument("--module", type=Path, help="SoftHSM's library; looked for if it is not given")
    return parser.parse_args()


def _make(given: argparse.Namespace) -> None:
    module = given.module or find_module()
    if not is_softhsm(module):
        raise ValueError(f"{module} is not SoftHSM; make its token with its maker's tools.")
    write_configuration(given.directory)
    use(module, given.directory)
    with (given.directory / "lock").open("w") as lock:
        # Two first runs at once would make two tokens with one label.
        fcntl.flock(lock, fcntl.LOCK_EX)
        _initialise(module, given.label, given.pin_file, given.so_pin_file)


def main() -> None:
    """The command: exits 0 when the token is there, 1 with one sentence when it could not be made."""
    try:
        _make(_arguments())
    except (CryptokiError, ModuleMissing, OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
