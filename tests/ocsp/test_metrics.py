"""What Prometheus reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from ca.store.crls import Heading
from ocsp.document import Document
from ocsp.metrics import Metrics

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def read(document: Document) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(document.body.decode())
        for sample in family.samples
    }


def test_the_exposition_is_what_a_scraper_parses() -> None:
    metrics = Metrics()
    metrics.cached.inc()
    metrics.certificates.labels("good").inc(2)
    document = metrics.exposition({"database": True, "signer": False}, [], NOW)
    assert document.media_type.startswith("text/plain")
    samples = read(document)
    assert samples["remit_ocsp_answers_total", "cached"] == 1
    assert samples["remit_ocsp_certificates_total", "good"] == 2
    assert samples["remit_status_ready", "database"] == 1
    assert samples["remit_status_ready", "signer"] == 0


def test_two_services_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.cached.inc()
    assert one.exposition({}, [], NOW).body != other.exposition({}, [], NOW).body


def published(shard: int, age: float, expires: float, issuer: str = "issuing-1") -> Heading:
    since, until = NOW - timedelta(seconds=age), NOW + timedelta(seconds=expires)
    return Heading(issuer, shard, 1, since, until, revision=1, entries=0)


def test_age_and_end_of_lists_a_thousand_shards_as_one() -> None:
    metrics = Metrics()
    shards = [published(shard, age=shard, expires=5000 - shard) for shard in range(1, 1001)]
    lists = [published(0, 10, 90), published(-1, 5, 15), published(0, 1, 2, "root-1"), *shards]
    samples = read(metrics.exposition({}, lists, NOW))
    ages = {labels[1:]: value for labels, value in samples.items() if labels[0] == "remit_status_crl_age_seconds"}
    ends = {labels[1:]: value for labels, value in samples.items() if labels[0] == "remit_status_crl_expires_seconds"}
    assert ages == {
        ("issuing-1", "full"): 10,
        ("issuing-1", "delta"): 5,
        ("root-1", "full"): 1,
        ("issuing-1", "shards"): 1000,
    }
    assert ends == {
        ("issuing-1", "full"): 90,
        ("issuing-1", "delta"): 15,
        ("root-1", "full"): 2,
        ("issuing-1", "shards"): 4000,
    }


def test_a_list_that_is_gone_is_counted_no_more() -> None:
    metrics = Metrics()
    metrics.exposition({}, [published(-1, 1, 1)], NOW)
    assert b'list="delta"' not in metrics.exposition({}, [], NOW).body
