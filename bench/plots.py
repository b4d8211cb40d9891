"""Draws the results. Needs matplotlib, which is in the optional dependencies `bench`."""

import statistics
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.plan import IN_FLIGHT, OFFERED

COLOURS = ("#9aa5b1", "#616e7c", "#2f9e6e", "#2563a8", "#d9b44a")


def possible() -> bool:
    """Tell whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(results: dict[str, Any], directory: Path) -> list[Path]:
    """Draw a plot for each part that has results; return the paths."""
    import matplotlib

    matplotlib.use("Agg")
    drawn = []
    if "systems" in results:
        drawn += [_rates(results, directory), _answers(results, directory), _costs(results, directory)]
    if "recovery" in results:
        drawn.append(_memory(results, directory))
    return drawn


def _axes(title: str) -> tuple[Any, Any]:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    return figure, axes


def _save(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot

    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path


def _rates(results: dict[str, Any], directory: Path) -> Path:
    figure, axes = _axes("End to end, every packet counted: packets/s")
    for number, (name, found) in enumerate(results["systems"].items()):
        rates = [run["rate"] for run in found["sustained"]]
        if rates:
            middle = statistics.median(rates)
            axes.bar(name, middle, color=COLOURS[number])
            axes.errorbar(
                name, middle, [[middle - min(rates)], [max(rates) - middle]], color="black", capsize=4
            )
            axes.text(number, middle, f" {middle:,.0f}", ha="left", va="bottom")
    return _save(figure, directory / "sustained.png")


def _answers(results: dict[str, Any], directory: Path) -> Path:
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    left.set_title("Acknowledged packets/s, by packets in flight", loc="left")
    right.set_title(f"p99 in milliseconds at {' and '.join(map(str, OFFERED))} packets/s", loc="left")
    for number, (name, found) in enumerate(results["systems"].items()):
        rates = [statistics.median(found["acknowledged"][str(n)]) for n in IN_FLIGHT]
        left.plot([str(n) for n in IN_FLIGHT], rates, "o-", label=name, color=COLOURS[number])
        p99 = [1e3 * statistics.median(run["p99"] for run in found["latency"][str(n)]) for n in OFFERED]
        places = [place + (number - 2) * 0.16 for place in range(len(OFFERED))]
        right.bar(places, p99, 0.15, color=COLOURS[number])
    right.set_xticks(range(len(OFFERED)), [f"{n:,}/s" for n in OFFERED])
    right.set_yscale("log")
    left.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    return _save(figure, directory / "answers.png")


def _costs(results: dict[str, Any], directory: Path) -> Path:
    figure, axes = _axes("CPU a packet, microseconds")
    names = [name for name, found in results["systems"].items() if found["sustained"]]
    bottom = [0.0] * len(names)
    for program, colour in zip(("radiusd", "shipper", "PostgreSQL"), COLOURS[1:4], strict=True):
        heights = [
            statistics.median(
                run["cpu_us"].get(program, 0.0) for run in results["systems"][name]["sustained"]
            )
            for name in names
        ]
        axes.bar(names, heights, bottom=bottom, label=program, color=colour)
        bottom = [low + high for low, high in zip(bottom, heights, strict=True)]
    axes.legend(frameon=False)
    return _save(figure, directory / "cpu.png")


def _memory(results: dict[str, Any], directory: Path) -> Path:
    figure, axes = _axes("radiusd, resident MiB, by packets acknowledged")
    resident = results["recovery"]["resident_bytes"]
    axes.plot([packets for packets, _ in resident], [size / 2**20 for _, size in resident], color=COLOURS[3])
    axes.set_ylim(bottom=0)
    return _save(figure, directory / "memory.png")
