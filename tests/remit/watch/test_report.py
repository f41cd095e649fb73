"""What monitoring reads: the text format, and what the next run remembers from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from remit.watch.finding import Finding, Kind, Life, State
from remit.watch.lists import Seen
from remit.watch.look import Look
from remit.watch.report import exposition, remembered, write
from tests.remit.watch.pki import FULL, LIFE, NOW

ODD = 'http://odd.example/"a\\b\n'


def test_the_text_format_is_what_prometheus_reads() -> None:
    findings = (
        Finding(Kind.CRL, FULL, State.WARNING, ("old",), Life(NOW, NOW + LIFE), 0.5, number=10**30, entries=3),
        Finding(Kind.OCSP_GET, ODD, State.CRITICAL, ("gone",)),
    )
    families = {one.name: one for one in text_string_to_metric_families(exposition(Look(NOW, findings, {})))}
    assert all(name.startswith("remit_watch_") and one.type == "gauge" for name, one in families.items())
    states = {(one.labels["kind"], one.labels["url"]): one.value for one in families["remit_watch_state"].samples}
    assert states == {("crl", FULL): 1, ("ocsp-get", ODD): 2}
    [used] = families["remit_watch_life_used_ratio"].samples
    assert used.value == 0.5
    [until] = families["remit_watch_next_update_timestamp_seconds"].samples
    assert until.value == (NOW + LIFE).timestamp()


def test_the_next_run_remembers_the_newest_numbers(tmp_path: Path) -> None:
    """CRL numbers have up to 20 octets (RFC 5280 5.2.3): more than a float holds."""
    file, newest = tmp_path / "remit.prom", {FULL: 2**159 + 1}
    assert remembered(file) == {}
    write(file, exposition(Look(NOW, (), newest)))
    assert remembered(file) == {FULL: Seen(2**159 + 1)}
    file.write_bytes(b"\xff\x00 remit_watch_crl_newest_number{}")
    assert remembered(file) == {}


def test_a_file_that_cannot_be_replaced_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "remit.prom").mkdir()
    with pytest.raises(IsADirectoryError):
        write(tmp_path / "remit.prom", "")
    assert [one.name for one in tmp_path.iterdir()] == ["remit.prom"]
