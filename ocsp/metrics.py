"""What is counted, for Prometheus. One instance a service; nothing is counted by name of a certificate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ca.store.crls import Heading
from ocsp.document import Document

_KINDS = {0: "full", -1: "delta"}


class Metrics:
    """Counters of answers, the time that fresh ones take, and the parts that are ready."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.answers = Counter(
            "remit_ocsp_answers", "OCSP answers by how they came about.", ["outcome"], registry=self._registry
        )
        self.certificates = Counter(
            "remit_ocsp_certificates", "Certificates in signed OCSP answers.", ["status"], registry=self._registry
        )
        self.lint_failures = Counter(
            "remit_ocsp_lint_failures",
            "OCSP answers that failed the check before the signature: none was signed.",
            registry=self._registry,
        )
        self.fresh = Histogram(
            "remit_ocsp_fresh_seconds",
            "Time for an OCSP answer that was not in the cache.",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
            registry=self._registry,
        )
        self.published = Counter(
            "remit_status_published", "CRLs and CA certificates served.", ["kind", "status"], registry=self._registry
        )
        self._ready = Gauge("remit_status_ready", "Whether a part works.", ["part"], registry=self._registry)
        self._age = Gauge(
            "remit_status_crl_age_seconds",
            "Since when a CA's list is in force; of its shards, the oldest.",
            ["issuer", "list"],
            registry=self._registry,
        )
        self._expires = Gauge(
            "remit_status_crl_expires_seconds",
            "For how long a CA's list still holds; of its shards, the one that ends first.",
            ["issuer", "list"],
            registry=self._registry,
        )
        # The one that is counted at full speed: looked up once.
        self.cached = self.answers.labels("cached")

    def exposition(self, ready: Mapping[str, bool], lists: Iterable[Heading], now: datetime) -> Document:
        """Everything in Prometheus's text format."""
        for part, is_ready in ready.items():
            self._ready.labels(part).set(is_ready)
        self._age.clear()
        self._expires.clear()
        for labels, group in _grouped(lists).items():
            self._age.labels(*labels).set(max((now - one.this_update).total_seconds() for one in group))
            self._expires.labels(*labels).set(min((one.next_update - now).total_seconds() for one in group))
        return Document(generate_latest(self._registry), CONTENT_TYPE_LATEST)


def _grouped(lists: Iterable[Heading]) -> dict[tuple[str, str], list[Heading]]:
    """By CA and kind: a thousand shards are one."""
    groups: dict[tuple[str, str], list[Heading]] = defaultdict(list)
    for one in lists:
        groups[one.issuer, _KINDS.get(one.shard, "shards")].append(one)
    return groups
