"""A module that is initialised for threads, and one that will not be."""

from pathlib import Path

import pytest

from ca.hsm import TokenFault, locking
from ca.hsm.locking import NotLockable, initialise_anew
from ca.hsm.token import open_token_for_threads
from tests.faults.shim import Shim

from .conftest import LABEL, Home, signs, started


def test_the_flag_arrives_and_the_module_works(faulty: Home, shim: Shim) -> None:
    token = open_token_for_threads(faulty.module, LABEL, faulty.pin())
    try:
        assert shim.counts().initialize_flags == locking.CKF_OS_LOCKING_OK
        first, second = token.session_beside(), token.session_beside()
        first.close()
        assert shim.counts().logout == 0
        assert list(second.get_objects()) == []
    finally:
        token.close()
    assert shim.counts().open_now == 0


@pytest.mark.parametrize(("result", "why"), [(0x0A, "it cannot be called by several threads"), (0x05, "with 0x5")])
def test_a_module_that_refuses_threads_says_how_to_go_on(faulty: Home, shim: Shim, result: int, why: str) -> None:
    shim.refuse_threads(result)
    with pytest.raises(TokenFault, match=rf"several sessions \(.*{why}\); set pkcs11\.sessions to 1"):
        open_token_for_threads(faulty.module, LABEL, faulty.pin())
    with pytest.raises(TokenFault, match=r"set pkcs11\.sessions to 1"):
        faulty.owner(sessions=2).start()
    # One session asks for no threads; nothing is left of the attempts.
    with started(faulty.owner()) as owner:
        assert signs(owner, owner.generate("issuing"))
    assert shim.counts().open_now == 0


def test_what_is_no_module_is_not_initialised(tmp_path: Path) -> None:
    (tmp_path / "module.so").write_text("not a library")
    with pytest.raises(NotLockable):
        initialise_anew(tmp_path / "module.so")
