"""The calls that make a token, each test in a process of its own: the module keeps state for its process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from softhsm.configuration import write_configuration
from softhsm.cryptoki import Cryptoki, CryptokiError

CHECKOUT = Path(__file__).parents[2]
PROLOGUE = """
from softhsm.cryptoki import Cryptoki, CryptokiError
import sys
from pathlib import Path
from softhsm.configuration import use
from softhsm.locate import find_module
module = find_module()
use(module, Path(sys.argv[1]))
"""


def run(directory: Path, script: str) -> str:
    write_configuration(directory)
    command = [sys.executable, "-c", PROLOGUE + script, str(directory)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_token_gets_its_label_then_its_user(tmp_path: Path) -> None:
    script = """
with Cryptoki(module) as cryptoki:
    assert cryptoki.slot_of(b"remit") is None
    cryptoki.init_token(cryptoki.free_slot(), b"12345678", b"remit")
with Cryptoki(module) as cryptoki:
    slot = cryptoki.slot_of(b"remit")
    assert cryptoki.slot_of(b"remi") is None
    before = cryptoki.user_pin_is_set(slot)
    cryptoki.init_pin(slot, b"12345678", b"1234")
    print(before, cryptoki.user_pin_is_set(slot), cryptoki.free_slot() != slot)
"""
    assert run(tmp_path, script) == "False True True"


def test_a_wrong_so_pin_is_said_in_words(tmp_path: Path) -> None:
    script = """
with Cryptoki(module) as cryptoki:
    cryptoki.init_token(cryptoki.free_slot(), b"12345678", b"remit")
with Cryptoki(module) as cryptoki:
    try:
        cryptoki.init_pin(cryptoki.slot_of(b"remit"), b"87654321", b"1234")
    except CryptokiError as error:
        print(error)
"""
    assert run(tmp_path, script) == ("SoftHSM refused the security officer's PIN; put the right one into its file.")


def test_what_is_no_module_is_said_in_words() -> None:
    with pytest.raises(CryptokiError, match="cannot be loaded"):
        Cryptoki(Path(os.devnull))
