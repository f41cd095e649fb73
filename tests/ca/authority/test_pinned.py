"""Case 8: what was decided, linted and committed is what is signed, whatever is configured anew in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ca.authority import hierarchy, issuance
from ca.authority.authority import Names
from ca.authority.issuance import Issued
from ca.hsm import State
from ca.identifiers import TrustDomain
from ca.pki import certificate, lint, profile, signed
from ca.pki.certificate import Contents
from ca.pki.keys import PublicKey
from ca.pki.profile import PROFILES, Kind
from ca.pki.signed import ToBeSigned
from ca.policy.ceiling import Lifetimes
from ca.refusals import Reason, Refused
from ca.store import certificates
from ca.store.status import Good, Intended
from tests.ca.authority.stage import Stage, answering, failing, new_key, run

RELOADED = replace(PROFILES[Kind.AGENT], purpose=ExtendedKeyUsageOID.SERVER_AUTH, points_to_crl=False)
Reload = Callable[[], None]
Sign = Callable[[PublicKey, Sequence[bytes]], "Future[list[bytes]]"]


@pytest.fixture
def reload(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reload]:
    """Puts another profile for agents in force, with nothing remembered of the one before."""

    def put() -> None:
        monkeypatch.setitem(PROFILES, Kind.AGENT, RELOADED)
        _forget()

    yield put
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    for module in (profile, certificate, lint):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def between(ready: Stage, act: Reload, then: Sign | None = None) -> None:
    """Before the signer's next signature `act` happens; the signature is its own, or `then`'s."""

    def sign(key: PublicKey, messages: Sequence[bytes]) -> Future[list[bytes]]:
        act()
        ready.signer.instead = None
        return (then or ready.signer.sign)(key, messages)

    ready.signer.instead = sign


def purposes(issued: Issued) -> list[x509.ObjectIdentifier]:
    parsed = x509.load_der_x509_certificate(issued.der)
    return list(parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_the_profile_of_the_intent_is_signed_not_the_reloaded_one(ready: Stage, reload: Reload) -> None:
    committed: list[bytes] = []

    def act() -> None:
        committed.extend(one.to_be_signed.tbs for one in ready.unfinished())
        reload()

    between(ready, act)
    issued = ready.enrolled()
    assert purposes(issued) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert ready.signer.signed == committed == [x509.load_der_x509_certificate(issued.der).tbs_certificate_bytes]
    assert ready.record(issued).der == issued.der
    # A control: the reload was real, and holds for whoever asks next.
    assert purposes(ready.enrolled()) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_a_reload_between_draft_and_lint_signs_nothing(
    ready: Stage, reload: Reload, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = certificate.to_be_signed

    def drafted(contents: Contents, *arguments: object) -> ToBeSigned:
        made = draft(contents, *arguments)  # type: ignore[arg-type] (passed on as they are)
        reload()
        return made

    token = ready.token()
    monkeypatch.setattr(certificate, "to_be_signed", drafted)
    with pytest.raises(Refused) as caught:
        ready.enrol(token)
    assert caught.value.reason is Reason.LINT_FAILED
    assert ready.signer.signed == []
    assert ready.unfinished() == []
    monkeypatch.setattr(certificate, "to_be_signed", draft)
    assert ready.enrol(token), "and the token is whole"


def test_a_signature_over_the_reloaded_profile_does_not_leave(ready: Stage, reload: Reload) -> None:
    """The very certificate made anew under the other profile, and rightly signed: not the bytes of the intent."""
    anew: list[bytes] = []

    def sign(key: PublicKey, _messages: Sequence[bytes]) -> Future[list[bytes]]:
        [intent] = ready.unfinished()
        anew.append(_remade(ready, intent.to_be_signed))
        [signature] = ready.signer.sign(key, anew).result()
        return answering(signature)(key, anew)

    between(ready, reload, sign)
    with pytest.raises(Refused) as caught:
        ready.enrolled()
    assert caught.value.reason is Reason.UNAVAILABLE
    ready.authority.line.close()
    ready.database.write(lambda _: None).result()  # after whatever the line still had to write
    [left] = ready.unfinished()
    assert anew == ready.signer.signed
    assert anew != [left.to_be_signed.tbs]
    assert ready.state(left) is certificates.State.SUSPECT
    assert ready.status(left) == Intended(left.created_at)
    assert ready.signer.health().state is State.DEGRADED


def _remade(ready: Stage, like: ToBeSigned) -> bytes:
    """The same key, names, serial and times with the other profile's purpose."""
    made = x509.load_der_x509_certificate(signed.assemble(like, b"\x00"))
    builder = (
        x509.CertificateBuilder()
        .subject_name(made.subject)
        .issuer_name(made.issuer)
        .public_key(made.public_key())
        .serial_number(made.serial_number)
        .not_valid_before(made.not_valid_before_utc)
        .not_valid_after(made.not_valid_after_utc)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return signed.draft(builder, ready.issuer.public_key).tbs


def test_after_a_restart_under_another_configuration_the_intent_is_finished_as_it_was(
    ready: Stage, reload: Reload
) -> None:
    """Other profile, names, lifetimes, URLs and lists: the intent knows its own."""
    token, key = ready.token(), new_key()
    ready.signer.instead = failing()
    with pytest.raises(Refused):
        ready.enrol(token, key)
    ready.signer.instead = None
    [left] = ready.unfinished()
    reload()
    another = ready.over(
        ready.database,
        names=Names(TrustDomain("other.example"), "Other", "1.3.6.1.4.1.32473.9"),
        lifetimes=Lifetimes(timedelta(minutes=2), timedelta(minutes=1), timedelta(minutes=3)),
        status_url="http://other.example",
        issuer=replace(ready.issuer, pointers=hierarchy.pointers(ready.issuer.id, "http://other.example")),
        crl_shards=5,
    )
    try:
        [finished] = run(issuance.recover(another))
    finally:
        another.close()
    assert ready.signer.signed == [left.to_be_signed.tbs]
    assert x509.load_der_x509_certificate(finished.der).tbs_certificate_bytes == left.to_be_signed.tbs
    assert purposes(finished) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert ready.status(left) == Good()
