"""What Prometheus reads."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from ocsp.metrics import Metrics


def test_the_exposition_is_what_a_scraper_parses() -> None:
    metrics = Metrics()
    metrics.cached.inc()
    metrics.certificates.labels("good").inc(2)
    document = metrics.exposition({"database": True, "signer": False})
    assert document.media_type.startswith("text/plain")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(document.body.decode())
        for sample in family.samples
    }
    assert samples["remit_ocsp_answers_total", "cached"] == 1
    assert samples["remit_ocsp_certificates_total", "good"] == 2
    assert samples["remit_status_ready", "database"] == 1
    assert samples["remit_status_ready", "signer"] == 0


def test_two_services_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.cached.inc()
    assert one.exposition({}).body != other.exposition({}).body
