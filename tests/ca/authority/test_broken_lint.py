"""Case 6: a linter that breaks, in whatever way, is a linter that did not pass; the signer is never called."""

from __future__ import annotations

import pytest

from ca.authority import lists
from ca.authority.issuance import Issued
from ca.pki import lint
from ca.refusals import Refused
from ca.store import crls
from ca.store.crls import Heading
from tests.ca.authority.stage import Stage

BROKEN = [RuntimeError("broken"), RecursionError("too deep"), MemoryError("too large"), KeyError("unknown")]


def headings(stage: Stage) -> list[Heading]:
    with stage.database.read() as connection:
        return crls.headings(connection)


@pytest.fixture(params=BROKEN, ids=lambda error: type(error).__name__)
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Exception:
    """Every rule over certificates and lists raises."""

    def breaking(*_: object, **__: object) -> lint.Linted:
        raise request.param

    monkeypatch.setattr(lint, "lint_certificate", breaking)
    monkeypatch.setattr(lists, "lint_crl", breaking)
    return request.param  # type: ignore[no-any-return] (of BROKEN)


def test_no_certificate_is_signed_and_the_token_is_whole(ready: Stage, broken: Exception) -> None:
    token = ready.token()
    with pytest.raises((Refused, type(broken))):
        ready.enrol(token)
    assert ready.signer.signed == []
    assert ready.unfinished() == []
    assert ready.issued() == []
    assert ready.audited("certificate.intend") == []


def test_no_list_is_signed_and_the_old_one_stays(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.published()
    before = headings(stage)
    stage.signer.signed.clear()
    for error in BROKEN:

        def breaking(*_: object, raised: Exception = error, **__: object) -> lint.Linted:
            raise raised

        monkeypatch.setattr(lists, "lint_crl", breaking)
        with pytest.raises(type(error)):
            stage.published()
    assert stage.signer.signed == []
    assert headings(stage) == before


def test_the_line_goes_on_when_the_linter_is_whole_again(ready: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    token = ready.token()

    def breaking(*_: object) -> lint.Linted:
        raise RuntimeError("broken")

    with monkeypatch.context() as patched:
        patched.setattr(lint, "lint_certificate", breaking)
        with pytest.raises((Refused, RuntimeError)):
            ready.enrol(token)
    assert isinstance(ready.enrol(token), Issued)
    assert len(ready.signer.signed) == 1
