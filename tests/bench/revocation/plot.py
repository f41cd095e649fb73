"""The figures as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.bench.plot import RESOLUTION, canvas
from tests.bench.revocation.plan import FLOOR, OPENSSL, OURS

_COLOURS = {OURS: "#1f5fa8", FLOOR: "#6b6b6b", OPENSSL: "#c2571a"}


def draw(told: dict[str, Any], file: Path) -> None:
    """Draws costs, latencies, lists and delays. Raises `NoMatplotlib`."""
    figure = canvas(15, 8.4)
    parts = (("answers", _costs), ("answers", _latencies), ("lists", _lists), ("delays", _delays))
    for axes, (part, drawn) in zip(figure.subplots(2, 2).flat, parts, strict=True):
        if told[part]:
            drawn(axes, told[part])
        else:
            axes.set_visible(False)
    figure.savefig(file, dpi=RESOLUTION)


def _costs(axes: Any, answers: list[dict[str, Any]]) -> None:
    there = [one for one in answers if one["per_core"] is not None]
    bars = axes.barh(
        [_name(one) for one in there],
        [one["per_core"] for one in there],
        color=[_COLOURS[one["system"]] for one in there],
    )
    axes.bar_label(bars, fmt="{:,.0f}", fontsize="small")
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set(title="OCSP answers for each second of CPU time")


def _latencies(axes: Any, answers: list[dict[str, Any]]) -> None:
    names = [_name(one) for one in answers]
    for percentile, mark in (("p50_ms", "o"), ("p95_ms", "s"), ("p99_ms", "^")):
        axes.plot([one[percentile] for one in answers], names, mark, label=percentile.removesuffix("_ms"))
    axes.invert_yaxis()
    axes.set(title="Latency on shared cores (ms)", xscale="log")
    axes.legend(fontsize="small")


def _lists(axes: Any, lists: list[dict[str, Any]]) -> None:
    revoked = [one["revoked"] for one in lists]
    axes.plot(revoked, [one["seconds"] for one in lists], "o-", color=_COLOURS[OURS], label="whole")
    for step in lists[0]["steps"]:
        axes.plot(revoked, [one["steps"][step] for one in lists], ".:", label=step)
    axes.set(title="Publishing the full CRL (seconds)", xlabel="revoked", xscale="log", yscale="log")
    axes.legend(fontsize="small")


def _delays(axes: Any, delays: list[dict[str, Any]]) -> None:
    for one in delays:
        for what, line, where in (("seen", "-", "answer"), ("listed", ":", "CRL")):
            times = sorted(one[f"{what}_ms"])
            shares = [(place + 1) / len(times) for place in range(len(times))]
            label = f"{one['database']}, responders: {one['responders']}, {where}"
            axes.step(times, shares, line, where="post", label=label)
    axes.set(title="From the 200 until the last one knows (ms)", ylabel="share of revocations", xscale="log")
    axes.legend(fontsize="small")


def _name(one: dict[str, Any]) -> str:
    return f"{one['system']}, {one['answers']}, {one['method']}"
