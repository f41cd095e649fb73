"""The figures as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_COLOURS = {"ours": "#1f5fa8", "naive": "#c2571a", "naive-async": "#8a8a2a"}
_FLOOR = "#6b6b6b"
RESOLUTION = 110
"""Dots an inch."""


class NoMatplotlib(Exception):  # noqa: N818 (said to a person as it is)
    """The picture cannot be drawn: one sentence with the mend."""


def draw(told: dict[str, Any], file: Path) -> None:
    """Draws rates, latencies and the effect of what is stored. Raises `NoMatplotlib`."""
    groups = list(dict.fromkeys((one["database"], one["key"]) for one in told["measurements"]))
    figure = canvas(15, 4.2 * len(groups))
    axes = figure.subplots(len(groups), 3, squeeze=False)
    for row, (database, key) in zip(axes, groups, strict=True):
        of_group = [one for one in told["measurements"] if (one["database"], one["key"]) == (database, key)]
        floor = next(one["rate"] for one in told["floor"] if (one["database"], one["key"]) == (database, key))
        _rates(row[0], of_group, floor, f"{database}, {key}")
        _latencies(row[1], of_group)
        _stored(row[2], of_group)
    figure.savefig(file, dpi=RESOLUTION)


def canvas(width: float, height: float) -> Any:
    """An empty picture of so many inches. Raises `NoMatplotlib`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NoMatplotlib("The plot needs matplotlib: pip install matplotlib.") from error
    return Figure(figsize=(width, height), layout="constrained")


def _rates(axes: Any, of_group: list[dict[str, Any]], floor: float, title: str) -> None:
    for system, colour in _COLOURS.items():
        for fresh in (False, True):
            seen = [one for one in of_group if (one["system"], one["fresh"], one["stored"]) == (system, fresh, 0)]
            if seen:
                axes.plot(
                    [one["clients"] for one in seen],
                    [one["rate"] for one in seen],
                    *("o--" if fresh else "o-",),
                    color=colour,
                    label=f"{system}, {'fresh' if fresh else 'kept'} connections",
                )
    axes.axhline(floor, color=_FLOOR, linestyle=":", label="floor: cryptography alone, one process")
    axes.axhline(floor / 2, color=_FLOOR, linestyle=":", linewidth=0.7, label="half of it")
    axes.set(title=f"Certificates per second: {title}", ylim=(0, None))
    _by_clients(axes, of_group)
    axes.legend(fontsize="small")


def _latencies(axes: Any, of_group: list[dict[str, Any]]) -> None:
    for system, colour in _COLOURS.items():
        kept = [one for one in of_group if (one["system"], one["fresh"], one["stored"]) == (system, False, 0)]
        for percentile, line in (("p50_ms", "o-"), ("p99_ms", "^:")):
            axes.plot(
                [one["clients"] for one in kept],
                [one[percentile] for one in kept],
                line,
                color=colour,
                label=f"{system}, {percentile.removesuffix('_ms')}",
            )
    axes.set(title="Latency, kept connections (ms)", yscale="log")
    _by_clients(axes, of_group)
    axes.legend(fontsize="small")


def _by_clients(axes: Any, of_group: list[dict[str, Any]]) -> None:
    clients = sorted({one["clients"] for one in of_group})
    axes.set_xscale("log", base=2)
    axes.set_xticks(clients, [str(one) for one in clients])
    axes.set_xlabel("clients")


def _stored(axes: Any, of_group: list[dict[str, Any]]) -> None:
    filled = {one["clients"] for one in of_group if one["stored"]}
    if not filled:
        axes.set_visible(False)
        return
    for clients in sorted(filled):
        seen = [one for one in of_group if one["system"] == "ours" and one["clients"] == clients and not one["fresh"]]
        seen.sort(key=lambda one: int(one["stored"]))
        labels = [f"{one['stored']:,}" for one in seen]
        axes.plot(labels, [one["rate"] for one in seen], "o-", label=f"{clients} clients")
    axes.set(title="Certificates per second by what is stored", xlabel="stored certificates", ylim=(0, None))
    axes.legend(fontsize="small")
