"""What there is to judge: the newest of each kind that the store has, and the status service's own answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from ca.judges import samples
from ca.judges.samples import Form, Sample
from ocsp.answer import GOOD, Contents, Signatory, refusal, response, response_data
from ocsp.request import parse
from tests.ca.authority.stage import Stage
from tests.ocsp.house import House


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    made.agent()
    made.task()
    yield made
    made.close()


def stored(stage: Stage) -> list[Sample]:
    with stage.database.read() as connection:
        return list(samples.stored(connection, stage.clock()))


def answered(stage: Stage, url: str) -> list[Sample]:
    with stage.database.read() as connection:
        return list(samples.answered(connection, url, stage.clock()))


def test_of_a_new_authority_there_are_the_ca_certificates_alone(stage: Stage) -> None:
    assert [(sample.name, sample.form) for sample in stored(stage)] == [
        ("root", Form.CERTIFICATE),
        ("issuing", Form.CERTIFICATE),
        ("root-issuing", Form.CHAIN),
    ]


def test_the_newest_agent_of_each_sort_is_what_the_store_has(stage: Stage) -> None:
    stage.enrolled()
    stage.clock.forward(seconds=1)
    with_task, without = stage.enrolled(), stage.enrolled(task=None)
    found = [sample for sample in stored(stage) if sample.name == "agent"]
    assert {sample.ders for sample in found} == {(with_task.der,), (without.der,)}
    assert {sample.about for sample in found} == {
        f"{with_task.intent.serial}, secp256r1, for task invoices",
        f"{without.intent.serial}, secp256r1",
    }
    issuing = next(sample for sample in stored(stage) if sample.name == "issuing")
    chains = {sample.ders for sample in stored(stage) if sample.name == "issuing-agent"}
    assert chains == {(*issuing.ders, with_task.der), (*issuing.ders, without.der)}


def test_each_kind_of_key_is_a_sort_of_its_own(stage: Stage) -> None:
    stage.enrolled()
    other = stage.enrol(stage.token(), ec.generate_private_key(ec.SECP384R1()))
    assert {s.about.split(", ")[1] for s in stored(stage) if s.name == "agent"} == {"secp256r1", "secp384r1"}
    assert (other.der,) in {sample.ders for sample in stored(stage)}


def test_what_has_no_revocation_is_a_sort_of_its_own(stage: Stage) -> None:
    with_pointers = stage.enrolled()
    lifetimes = replace(stage.authority.lifetimes, no_revocation_under=timedelta(minutes=15))
    stage.authority = stage.over(stage.database, lifetimes=lifetimes)
    without = stage.enrolled()
    found = {sample.ders: sample.about for sample in stored(stage) if sample.name == "agent"}
    assert found.keys() == {(with_pointers.der,), (without.der,)}
    assert found[(without.der,)].endswith(", with noRevAvail")


def test_of_many_shards_one_with_entries_is_judged(stage: Stage) -> None:
    stage.authority = stage.over(stage.database, crl_shards=5)
    gone = stage.enrolled()
    stage.revoke(gone)
    stage.published()
    lists = [sample for sample in stored(stage) if "crl" in sample.name]
    assert sorted(sample.name for sample in lists) == ["issuing-crl", "issuing-crl-shard", "root-crl"]
    [shard] = [sample for sample in lists if sample.name == "issuing-crl-shard"]
    assert shard.about.startswith(f"issuing-1, list {gone.intent.crl_shard}, number ")
    [entry] = x509.load_der_x509_crl(shard.ders[0])
    assert entry.serial_number == gone.intent.serial.number


def test_an_intent_that_was_never_finished_is_no_sample(stage: Stage) -> None:
    stage.signer.down = "The token was pulled."
    with pytest.raises(Exception, match="cannot be used"):
        stage.enrolled()
    assert "agent" not in {sample.name for sample in stored(stage)}


def test_every_name_is_known(stage: Stage) -> None:
    stage.enrolled()
    assert {sample.name for sample in stored(stage)} <= set(samples.NAMES)


def test_it_signs_nothing(stage: Stage) -> None:
    stage.enrolled()
    before = list(stage.signer.signed)
    stored(stage)
    with serving(lambda _: refusal(ocsp.OCSPResponseStatus.TRY_LATER)) as url:
        answered(stage, url)
    assert stage.signer.signed == before


def test_the_status_service_is_asked_as_clients_ask(stage: Stage) -> None:
    live, gone = stage.enrolled(), stage.enrolled(task=None)
    stage.revoke(gone)
    asked: list[bytes] = []

    def answer(question: bytes) -> bytes:
        asked.append(question)
        return _signed(question)

    with serving(answer) as url:
        found = answered(stage, url)
    assert [sample.name for sample in found] == ["ocsp-good", "ocsp-sha256-nonce", "ocsp-never-issued", "ocsp-revoked"]
    requests = [ocsp.load_der_ocsp_request(question) for question in asked]
    numbers = [live.intent.serial.number, live.intent.serial.number, 1, gone.intent.serial.number]
    assert [request.serial_number for request in requests] == numbers
    assert [request.hash_algorithm.name for request in requests] == ["sha1", "sha256", "sha1", "sha1"]
    assert [bool(list(request.extensions)) for request in requests] == [False, True, False, False]
    assert all(sample.form is Form.OCSP for sample in found)


def test_what_is_not_answered_is_no_sample(stage: Stage) -> None:
    stage.enrolled()
    with serving(lambda _: refusal(ocsp.OCSPResponseStatus.TRY_LATER)) as url:
        assert answered(stage, url) == []


def test_where_nothing_answers_it_says_so(stage: Stage) -> None:
    stage.enrolled()
    with pytest.raises(OSError, match="refused"):
        answered(stage, "http://127.0.0.1:1")


def test_what_is_no_ocsp_answer_is_said_so_too(stage: Stage) -> None:
    stage.enrolled()
    with serving(lambda _: b"<html>") as url, pytest.raises(ValueError, match="pars"):
        answered(stage, url)


def _signed(question: bytes) -> bytes:
    """A successful answer; whose, does not matter here."""
    house = House()
    by = Signatory.of(house.shelf.responders_of["issuing-1"][0])
    tbs = response_data(by, Contents(parse(question), (GOOD,), house.now, house.now))
    [signature] = house.signer.sign(by.public_key, [tbs]).result()
    return response(tbs, signature, by)


@contextmanager
def serving(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """A status service on loopback that answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
