"""Writes the results: as Markdown for people, and as JSON for programs."""

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.plan import IN_FLIGHT, OFFERED
from bench.targets import judge, paired

Results = dict[str, Any]


def write(results: Results, directory: Path) -> list[Path]:
    """Write results.md and results.json; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    as_json, as_markdown = directory / "results.json", directory / "results.md"
    as_json.write_text(json.dumps(results, indent=1) + "\n")
    as_markdown.write_text(markdown(results))
    return [as_markdown, as_json]


def markdown(results: Results) -> str:
    """Return the whole report."""
    parts = [_machine(results)]
    if "systems" in results:
        parts += [_sustained(results["systems"]), _costs(results["systems"]), _acknowledged(results)]
        parts.append(_latency(results["systems"]))
    if "several" in results:
        parts += ["# One radiusd, and several", _sustained(results["several"]), _costs(results["several"])]
    if "large" in results:
        parts.append(_large(results))
    if "lookups" in results:
        parts.append(_lookups(results["lookups"]))
    parts += [_commands(results["commands"])] if "commands" in results else []
    parts += [_quotas(results["quotas"])] if "quotas" in results else []
    parts += [_closing(results["closing"])] if "closing" in results else []
    parts += [_exports(results["exports"])] if "exports" in results else []
    parts += [_logins(results["logins"])] if "logins" in results else []
    parts += [_http(results["http"])] if "http" in results else []
    parts += [_flood(results["flood"])] if "flood" in results else []
    parts += [_floods(results["floods"])] if "floods" in results else []
    parts += [_recovery(results["recovery"])] if "recovery" in results else []
    parts += [_away(results["away"])] if "away" in results else []
    if targets := judge(results):
        parts.append("## Targets\n\n" + "\n".join(f"- {target}" for target in targets))
    return "\n\n".join(parts) + "\n"


def _machine(results: Results) -> str:
    machine, generator = results["machine"], results["generator"]
    return (
        "# Benchmark\n\n"
        + "\n".join(f"- {name}: {value}" for name, value in machine.items())
        + f"\n- load generator: {generator['language']}, {generator['echo_rate']:,.0f} packets/s against an echo, "
        f"{generator['echo_cpu_us']:.1f} us CPU a packet\n\n"
        "After each run the totals of every user and every router were compared with what was sent, to the byte. "
        "Figures are medians, with the lowest and the highest of the repeats in brackets."
    )


def _sustained(systems: Results) -> str:
    rows = []
    for name, figures in systems.items():
        runs = figures["sustained"]
        if runs:
            grown = max(run["backlog_after"] - run["backlog_before"] for run in runs)
            rows.append(
                [
                    name,
                    spread([run["rate"] for run in runs]),
                    f"{runs[0]['seconds']:.0f} s",
                    f"{grown:+,}" if "radmeter" in name else "-",
                ]
            )
    return "## End to end, every packet counted\n\n" + table(
        ["system", "packets/s", "over", "journal grew by, at most"], rows
    )


def _costs(systems: Results) -> str:
    programs = ("radiusd", "shipper", "PostgreSQL", "load generator")
    rows = []
    for name, figures in systems.items():
        runs = figures["sustained"]
        if runs:
            cpu = [_median(run["cpu_us"].get(program, 0.0) for run in runs) for program in programs]
            written = [
                _median(run["written_bytes"].get(program, 0.0) for run in runs) for program in programs[:3]
            ]
            wal = _median(run["wal_bytes"] for run in runs)
            device = [run["device_bytes"] for run in runs if run["device_bytes"] is not None]
            rows.append(
                [
                    name,
                    *(f"{value:.1f}" for value in [*cpu, sum(cpu[:3])]),
                    *(f"{value:,.0f}" for value in (written[0], written[2], wal)),
                    f"{_median(device):,.0f}" if device else "-",
                ]
            )
    heads = [f"{program}, us" for program in programs] + ["without generator, us"]
    return (
        "## What a packet costs: CPU, and bytes written\n\n"
        + table(
            ["system", *heads, "radiusd, bytes", "PostgreSQL, bytes", "of it WAL", "disk, all together"], rows
        )
        + "\n\nThe bytes of a program are those that it passed to write(2). The disk's bytes are its own count, for "
        "all programs."
    )


def _acknowledged(results: Results) -> str:
    rows = [
        [name, *(spread(figures["acknowledged"].get(str(number), [])) for number in IN_FLIGHT)]
        for name, figures in results["systems"].items()
    ]
    return (
        "## Acknowledged packets/s, by packets in flight\n\n"
        + table(["system", *(str(number) for number in IN_FLIGHT)], rows)
        + "\n\nrlm_sql answers when the database has the packet, radmeter when the journal has it. Here radmeter runs "
        "without its shipper: this is the highest rate of a burst."
    )


def _latency(systems: Results) -> str:
    rows, real_time = [], True
    for name, figures in systems.items():
        for offered in OFFERED:
            runs = figures["latency"].get(str(offered), [])
            if runs:
                values = [_median(run[key] for run in runs) * 1000 for key in ("p50", "p95", "p99", "max")]
                again = sum(run["sent_again"] for run in runs)
                rows.append([name, f"{offered:,}", *(f"{value:.2f}" for value in values), str(again)])
                real_time = real_time and all(run["real_time"] for run in runs)
    return (
        "## Latency at an offered rate, milliseconds\n\n"
        + table(["system", "offered/s", "p50", "p95", "p99", "max", "sent again"], rows)
        + "\n\nMeasured from the time at which a packet was due. radmeter runs with its shipper and scheduling = auto."
        + (
            ""
            if real_time
            else " Real-time priority is not permitted here (it needs CAP_SYS_NICE, or RLIMIT_RTPRIO of 2), neither "
            "for radmeter's radiusd with sync=packet nor for the load generator. So these figures include the waits "
            "of the generator itself."
        )
    )


def _large(results: Results) -> str:
    sizes = results["sizes"]
    rows = [
        [name, *(spread([run["rate"] for run in figures[key]]) for key in ("beside", "sustained"))]
        for name, figures in results["large"].items()
    ]
    return "## End to end with many sessions and routers, packets/s\n\n" + table(
        ["system", sizes["small"], sizes["large"]], rows
    )


def _lookups(lookups: Results) -> str:
    heads = [f"{one['closed_sessions']:,} sessions, {one['routers']:,} routers" for one in lookups["sizes"]]
    rows = [
        [name, *(f"{one['median'] * 1e3:.3f} ({one['p99'] * 1e3:.3f})" for one in both)]
        for name, both in lookups.items()
        if name != "sizes"
    ]
    return "## Lookups, milliseconds a round trip: median (p99)\n\n" + table(["lookup", *heads], rows)


def _commands(found: Results) -> str:
    rows = [
        [f"radmeter {name}", f"{statistics.median(runs):.3f}", f"{max(runs):.3f}"]
        for name, runs in found["seconds"].items()
    ]
    installed = [[name, f"{size:.1f}"] for name, size in found["megabytes"].items()]
    return (
        "## Processor time of commands, seconds\n\n"
        + table(["command", "median", "most"], rows)
        + "\n\n## Installed size, MB\n\n"
        + table(["installed as", "MB"], installed)
    )


def _quotas(found: Results) -> str:
    low, high = min(found["ratios"]), max(found["ratios"])
    return (
        "## Processor time of PostgreSQL for a packet, microseconds\n\n"
        + table(
            ["quotas", "median (lowest-highest)"],
            [["off", spread(found["off"])], ["on", spread(found["on"])]],
        )
        + f"\n\non / off, in turns: {found['ratio']:.2f} ({low:.2f}-{high:.2f})"
    )


def _closing(found: Results) -> str:
    return (
        f"## Closing a month of {found['tenants']:,} tenants with {found['routers']:,} routers, "
        f"{found['router_days']:,} router-days\n\n"
        + table(
            ["", "seconds"],
            [
                ["the first month", f"{found['close_seconds']:.1f}"],
                ["its issue", f"{found['issue_seconds']:.1f}"],
                [
                    "the next month, with late octets of each tenant",
                    f"{found['close_with_late_octets_seconds']:.1f}",
                ],
                [
                    f"{found['history_tenants']:,} tenants, one closed month before",
                    f"{found['close_after_a_month_seconds']:.1f}",
                ],
                [
                    f"the same, {found['history_months']} closed months before",
                    f"{found['close_after_months_seconds']:.1f}",
                ],
                [
                    f"{found['users']:,} users with {found['top_ups']:,} top-ups",
                    f"{found['close_of_users_seconds']:.1f}",
                ],
                [
                    "the same after a year of closed months",
                    f"{found['close_of_users_after_a_year_seconds']:.1f}",
                ],
            ],
        )
    )


def _exports(found: Results) -> str:
    seconds = {name: f"{statistics.median(found[name]):.1f} ({min(found[name]):.1f}-{max(found[name]):.1f})"
               for name in ("copy", *found["megabytes"])}  # fmt: skip
    rows = [["COPY by psql", seconds["copy"], ""]]
    rows += [[form, seconds[form], f"{size:.0f}"] for form, size in found["megabytes"].items()]
    return (
        f"## Export of {found['sessions']:,} sessions\n\n"
        + table(["", "seconds, median (lowest-highest)", "MB resident"], rows)
        + f"\n\nCSV / COPY, in turns: {found['ratio']:.2f}"
    )


def _logins(found: Results) -> str:
    times = [f"{found['latency_seconds'][name] * 1e3:.2f}" for name in ("p50", "p95", "p99", "max")]
    return (
        "## Logins\n\n"
        f"{found['logins']:,} logins by PAP at {found['rate']:.0f} a second for {found['seconds']:g} s, while "
        f"{found['accounting_rate']:,} accounting packets a second change the same users' counters. Answers, "
        f"milliseconds; {found['sent_again']} were sent again:\n\n"
        + table(["p50", "p95", "p99", "max"], [times])
    )


def _http(found: Results) -> str:
    rows = []
    for name, turns in found["requests"].items():
        times = [
            f"{_median(turn[key] for turn in turns):.1f}"
            for key in ("p50_ms", "p95_ms", "p99_ms", "per_second")
        ]
        errors = f"{sum(turn['errors'] for turn in turns):.0f}"
        cpu = [
            f"{_median(turn[key] for turn in turns):.2f}" for key in ("server_cpu_ms", "postgresql_cpu_ms")
        ]
        load = f"{_median(turn['load'] for turn in turns):.1f}"
        rows.append([f"`{found['paths'][name]}`", *times, errors, *cpu, load])
    lag, again = found["lag_seconds"], found["sent_again"]
    return (
        "## The HTTP API\n\n"
        f"{found['rate']} requests/s to each address in turn for {found['seconds']:g} s, beside "
        f"{found['packet_rate']:,} packets/s. Milliseconds, errors, processor time of a request in milliseconds, and "
        "the load of the machine:\n\n"
        + table(["", "p50", "p95", "p99", "requests/s", "errors", "server", "PostgreSQL", "load"], rows)
        + f"\n\n{found['packets']:,} packets were counted. From the answer until a packet was counted: p50 "
        f"{lag['p50'] * 1e3:.0f} ms, p99 {lag['p99'] * 1e3:.0f} ms, at most {lag['max'] * 1e3:.0f} ms; {again} were "
        "sent again."
    )


def _flood(found: Results) -> str:
    rows = [
        [
            name,
            *(f"{found[key][value] * 1e3:.2f}" for value in ("p50", "p95", "p99", "max")),
            str(found[key]["sent_again"]),
        ]
        for name, key in (("alone", "alone"), ("beside the flood", "beside"))
    ]
    return (
        "## A flood from one client\n\n"
        f"One client sent {found['sent'] / found['seconds']:,.0f} packets/s for {found['seconds']:.1f} s, with "
        f"client_packets_per_second = {found['limit']:,}: {found['answered'] / found['seconds']:,.0f} a second were "
        f"answered, and {found['kept']:,} of {found['sent']:,} kept. The others' replies at "
        f"{found['others_rate']:,} packets/s, milliseconds:\n\n"
        + table(["the others", "p50", "p95", "p99", "max", "sent again"], rows)
    )


def _floods(found: Results) -> str:
    rows = [
        [
            kind,
            *(f"{statistics.median(one[key]):,.0f}" for key in ("alone", "beside")),
            f"{paired(one['beside'], one['alone']):.2f}",
            f"{one['sent']:,}",
            f"{one['kept']:,}",
        ]
        for kind, one in found["kinds"].items()
    ]
    return (
        "## Floods that make something grow\n\n"
        f"One client sent {found['offered']:,} packets/s, with client_packets_per_second = {found['limit']:,}. The "
        "others sent as fast as they were answered. Their packets counted a second, and the flood's packets:\n\n"
        + table(["flood of", "without it", "beside it", "ratio", "sent", "kept"], rows)
    )


def _recovery(found: Results) -> str:
    return (
        "## Recovery and memory\n\n"
        f"{found['records']:,} records ({found['journal_bytes'] / 2**20:,.0f} MiB) waiting in the journal were "
        f"shipped in {found['seconds']:.1f} s: {found['rate']:,.0f} a second; CPU a record: shipper "
        f"{found['shipper_cpu_us']:.1f} us, PostgreSQL {found['postgresql_cpu_us']:.1f} us.\n\n"
        f"radiusd had {found['resident_early'] / 2**20:.1f} MiB resident after a fifth of the packets and "
        f"{found['resident_end'] / 2**20:.1f} MiB after all."
    )


def _away(found: Results) -> str:
    return (
        "## The database away\n\n"
        f"For {found['away_seconds']:g} s at {found['rate']:,} packets/s: {found['waiting']:,} packets waited, and "
        f"the journal took {found['journal_bytes'] / 2**20:,.0f} MiB. It was shipped "
        f"{found['caught_up_seconds']:.1f} s after the return, with packets still coming in; nothing lost, "
        f"{found['sent_again']} sent again, p99 of all replies {found['latency_seconds']['p99'] * 1e3:.1f} ms."
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table: the first column is aligned to the left, the others to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: Sequence[float]) -> str:
    """Return the median, with the range if there are several values."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):,.0f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.0f}-{max(values):,.0f})"


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values) or [0.0])
