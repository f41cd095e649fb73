"""Routes, bodies, headers; and that whatever a stranger sends, the answer is an answer."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from ca.identifiers import Serial
from ca.store.status import Good, Revoked
from ocsp.request import MAX_OCTETS
from ocsp.spelling import MAX_CHARACTERS
from tests.ocsp.house import GOOD, NEVER_ISSUED, NONCE, House, published_crl, question, run
from tests.ocsp.test_spelling import der as sequence

HOUSE = House(unkept=10**9)
MALFORMED = ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@pytest.fixture
def house() -> House:
    return House()


def url(der: bytes) -> str:
    return f"/ocsp/{b64encode(der).decode()}"


def test_get_post_and_head_say_the_same(house: House) -> None:
    der = question(house.issuing, GOOD)
    posted, got, head = house.post(der), house.get(url(der)), house.get(url(der), "HEAD")
    assert posted.ocsp.certificate_status.name == "GOOD"
    assert posted == got
    assert (head.status, head.headers, head.body) == (200, got.headers, b"")
    assert got.headers["content-type"] == "application/ocsp-response"
    assert house.outcomes() == {"signed": 1, "cached": 2}


def test_a_cached_answer_touches_neither_database_nor_signer(house: House) -> None:
    der = question(house.issuing, GOOD)
    first = house.post(der)
    house.shelf.away, house.signer.down = True, "The token was pulled."
    house.later(seconds=29)
    again = house.post(der)
    assert again.body == first.body
    assert first.headers["cache-control"].startswith("max-age=60,")
    assert again.headers["cache-control"].startswith("max-age=31,")


def test_past_its_end_nothing_is_served_from_the_cache(house: House) -> None:
    der = question(house.issuing, GOOD)
    first = house.post(der).ocsp
    house.later(seconds=60)
    second = house.post(der)
    assert second.ocsp.this_update_utc == first.next_update_utc
    assert second.headers["cache-control"].startswith("max-age=60,")


def test_a_nonced_question_does_not_poison_the_cache(house: House) -> None:
    plain, nonced = question(house.issuing, GOOD), question(house.issuing, GOOD, nonce=NONCE)
    answers = [house.post(der) for der in (plain, nonced, plain, nonced)]
    assert [len(one.ocsp.extensions) for one in answers] == [0, 1, 0, 1]
    assert answers[1].headers["cache-control"] == "no-store"
    assert house.outcomes() == {"signed": 3, "cached": 1}


def test_merged_slashes_get_the_same_bytes_as_post(house: House) -> None:
    """Both in what names the issuer and in the serial, as nginx leaves them."""
    serial = Serial(int.from_bytes(b"\x01" + b"\xff" * 17 + b"\x01", "big"))
    house.change(serial, Good())
    der = question(house.issuing, serial)
    text = b64encode(der).decode()
    assert "//////" in text
    whole, cut = house.get(f"/ocsp/{text}"), house.get(f"/ocsp/{text.replace('//', '/', 1)}")
    assert whole.ocsp.certificate_status.name == "GOOD"
    assert cut.body == whole.body == house.post(der).body


def test_not_modified_for_one_who_has_it(house: House) -> None:
    der = question(house.issuing, GOOD)
    first = house.get(url(der))
    for held in (first.headers["etag"], f'W/"x", {first.headers["etag"]}'):
        again = house.get(url(der), if_none_match=held)
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert "content-type" not in again.headers
    assert house.get(url(der), if_none_match='"other"').status == 200


@pytest.mark.parametrize("size", [MAX_OCTETS + 1, 100_000])
def test_too_long_a_body_is_413_and_says_malformed(house: House, size: int) -> None:
    reply = house.post(b"\x30" * size)
    assert (reply.status, reply.ocsp.response_status) == (413, MALFORMED)
    assert reply.headers["connection"] == "close"


def test_too_long_a_url_is_413_and_the_longest_is_not(house: House) -> None:
    reply = house.get("/ocsp/" + "A" * (MAX_CHARACTERS + 1))
    assert (reply.status, reply.ocsp.response_status) == (413, MALFORMED)
    longest = house.get(url(sequence(b"\x00" * (MAX_OCTETS - 4))))
    assert (longest.status, longest.ocsp.response_status) == (200, MALFORMED)


@pytest.mark.parametrize("path", ["/ocsp", "/ocsp/", "/ocsp/x", "/ocsp/%", "/ocsp/%00", "/ocsp/\u00e9", "/ocsp//////"])
def test_a_get_that_means_nothing_is_malformed(house: House, path: str) -> None:
    reply = house.get(path)
    assert (reply.status, reply.ocsp.response_status) == (200, MALFORMED)
    assert reply.headers["cache-control"] == "no-store"


@given(st.binary(max_size=MAX_OCTETS + 100))
def test_any_body_is_answered(body: bytes) -> None:
    reply = HOUSE.post(body)
    assert reply.status in (200, 413)
    assert reply.ocsp.response_status is MALFORMED


@given(st.binary(max_size=60).map(lambda tail: b"/" + tail) | st.binary(max_size=60).map(lambda tail: b"/ocsp/" + tail))
def test_any_path_is_answered(path: bytes) -> None:
    assert HOUSE.get(path).status in (200, 404)


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=255))
def test_a_request_with_one_octet_changed_is_never_called_good_for_another(at: int, octet: int) -> None:
    der = bytearray(question(HOUSE.issuing, NEVER_ISSUED))
    der[at % len(der)] = octet
    read = HOUSE.post(bytes(der)).ocsp
    if read.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL and read.certificate_status.name == "GOOD":
        assert read.serial_number == GOOD.number


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize(("path", "allowed"), [("/ocsp", "GET, HEAD, POST"), ("/crl/root-1.crl", "GET, HEAD")])
def test_other_methods_are_not_allowed(house: House, method: str, path: str, allowed: str) -> None:
    reply = house.get(path, method)
    assert (reply.status, reply.headers["allow"]) == (405, allowed)
    assert json.loads(reply.body)["type"] == "urn:remit:problem:method-not-allowed"


@pytest.mark.parametrize(
    "path",
    ["/", "/ocspx", "/crl/", "/crl/root-1", "/crl/../root-1.crl", "/crl/root-1/x.crl", "/ca/root-1.pem", "/ca/no.cer"],
)
def test_there_is_nothing_elsewhere(house: House, path: str) -> None:
    assert house.get(path).status == 404


def test_lists_and_certificates(house: House) -> None:
    for shard, path in ((0, "/crl/issuing-1.crl"), (1, "/crl/issuing-1/1.crl")):
        published = published_crl("issuing-1", shard, 1, house.now, house.now.replace(hour=13), b"crl %d" % shard)
        house.shelf.crls["issuing-1", shard] = published
        house.shelf.commit()
        house.look()
        reply = house.get(path)
        assert (reply.status, reply.body) == (200, published.der)
        assert reply.headers["content-type"] == "application/pkix-crl"
    assert house.get("/ca/issuing-1.cer").headers["content-type"] == "application/pkix-cert"


def test_probes(house: House) -> None:
    assert json.loads(house.get("/healthz").body) == {"status": "ok"}
    ready = house.get("/readyz")
    assert (ready.status, json.loads(ready.body)["status"]) == (200, "ready")
    assert b"remit_status_ready" in house.get("/metrics").body


def test_readiness_says_which_part_is_not(house: House) -> None:
    house.shelf.away, house.signer.down = True, "The token was pulled."
    house.look()
    reply = house.get("/readyz")
    parts = json.loads(reply.body)["parts"]
    assert reply.status == 503
    assert {name: part["ready"] for name, part in parts.items()} == {
        "database": False,
        "responder": True,
        "signer": False,
        "crl": True,
    }
    assert parts["signer"]["detail"] == "The token was pulled."
    assert house.get("/healthz").status == 200


def test_readiness_turns_at_half_of_a_list_s_life(house: House) -> None:
    for name, shard in (("issuing-1", 0), ("issuing-1", 3), ("root-1", 0)):
        life = timedelta(hours=1 if shard else 2)
        house.shelf.crls[name, shard] = published_crl(name, shard, 1, house.now, house.now + life, b"crl")
    house.shelf.commit()
    house.look()
    house.later(minutes=30)
    assert house.get("/readyz").status == 200
    house.later(seconds=1)
    reply = house.get("/readyz")
    assert reply.status == 503
    part = json.loads(reply.body)["parts"]["crl"]
    assert part == {"ready": False, "detail": "Past half of their life: /crl/issuing-1/3.crl"}
    metrics = house.get("/metrics").body
    assert b'remit_status_crl_age_seconds{issuer="issuing-1",list="shards"} 1801.0' in metrics
    assert b'remit_status_ready{part="crl"} 0.0' in metrics


def test_before_the_first_look_no_part_but_the_signer_is_ready(house: House) -> None:
    house.view.directory, house.view.fault = None, "The database has not been read yet."
    assert house.get("/readyz").status == 503


def test_a_fault_of_our_own_is_an_answer_and_no_stack_trace(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(house.responder, "answer", fault)
    reply = house.post(question(house.issuing, GOOD))
    assert (reply.status, reply.ocsp.response_status) == (200, ocsp.OCSPResponseStatus.INTERNAL_ERROR)
    monkeypatch.setattr(house.view, "directory", 5)
    reply = house.get("/ca/root-1.cer")
    assert reply.status == 503
    assert b"secret" not in reply.body
    assert house.outcomes() == {"internal_error": 1}


# The conversation with the server.

Receive = Callable[[], Awaitable[Any]]


def talk(house: House, scope: dict[str, Any], receive: Receive) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    run(house.app(scope, receive, send))
    return sent


def post_scope() -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": "/ocsp", "raw_path": b"/ocsp", "headers": []}


def test_a_body_in_pieces(house: House) -> None:
    der = question(house.issuing, GOOD)
    pieces = iter(
        [{"type": "http.request", "body": bytes([octet]), "more_body": True} for octet in der]
        + [{"type": "http.request"}]
    )

    async def receive() -> Any:
        return next(pieces)

    [_, content] = talk(house, post_scope(), receive)
    assert ocsp.load_der_ocsp_response(content["body"]).certificate_status.name == "GOOD"


def test_a_body_without_end_is_not_read_to_its_end(house: House) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"\x30" * 1000, "more_body": True}

    assert talk(house, post_scope(), receive)[0]["status"] == 413


def test_one_who_goes_away_is_not_waited_for(house: House) -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    assert talk(house, post_scope(), receive)[0]["status"] == 200
    assert house.outcomes() == {"malformed": 1}


def test_the_life_of_the_server(house: House) -> None:
    """From start to end the database is watched: a revocation shows without anybody's doing."""
    der = question(house.issuing, GOOD)
    seen: list[str] = []
    house.view.directory = None

    async def receive() -> Any:
        if seen:
            assert house.view.directory is not None
            before = house.view.generation
            house.shelf.rows["issuing-1", GOOD] = Revoked(house.now, x509.ReasonFlags.superseded)
            house.shelf.commit()
            house.bell.rung.set()
            for _ in range(5000):
                if house.view.generation != before:
                    break
                await asyncio.sleep(0.001)
            document = await house.responder.answer([der])
            seen.append(ocsp.load_der_ocsp_response(document.body).certificate_status.name)
        return {"type": "lifespan.shutdown" if seen else "lifespan.startup"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])
        seen.append(message["type"])

    run(house.app({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert "REVOKED" in seen
