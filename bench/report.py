"""The results as markdown: what took how long, and what the plans cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

_ABOUT_KARPENTER: Final = """\
One decision over four pools and pods of fifty classes: the best of three, CPU time, making the pools ready included.
[Parity](parity.md) has the real Karpenter beside it.
"""

_ABOUT_SCANNING: Final = """\
`gpuslice scan -A` of a made cluster, from an API server of our own on the same machine: lists in pages of 500 and gzip.
Memory is the most that was resident.
"""

_ABOUT_MEASURING: Final = """\
`gpuslice measure prometheus --window 14d` against a real Prometheus 2.42 on the same machine. It holds 1,000 pods and
six metrics, a sample each 30 s. Memory is the most that was resident; the server's is without the files it maps.
"""

_ABOUT_FLEETS: Final = """\
All mechanisms, {}, one run each. "Planned" is one template a Deployment, as Karpenter carries it out.
"""

Results = Mapping[str, Any]  # as in the JSON file: made here, read here

_HEAD: Final = """\
<!-- Made by `make bench`. -->

# Benchmarks

Made by `make bench`. Whole processes, from start to exit, with a warm disk: least, median and most seconds of the runs.
Figures of one machine on one day, and no promise. What is looked for is counted in work, so that a slower machine shows
the same plans.
"""
_ABOUT_SERVICES: Final = """\
ParvaGPU's published scenarios (SC 2024) on an A100 80GB, to a gap of 0: the fewest GPUs. Best of three runs in one
process: choosing is for slices, replicas and the proof; the whole plan has pools, Karpenter's nodes and the verifier.
"""
_ABOUT_PLANS: Final = """\
Dollars an hour. Misfits (in brackets) are workloads that a baseline runs outside their rules; its price has them in, so
that it may be below that of a plan which keeps the rules.
"""


def page(results: Results) -> str:
    """A page of the documentation."""
    return f"{_HEAD}\n{body(results)}"


def body(results: Results) -> str:
    """Tables, and the machine that they are of."""
    parts = [
        _machine(results),
        "## Time",
        _times(results["timings"]),
        "## What is imported",
        _imports(results["imports"]),
        "## The model of Karpenter",
        _ABOUT_KARPENTER.strip(),
        _karpenter(results["karpenter"]),
        *_scanned(results["scanned"]),
        *_measured(results["measured"]),
        *_services(results["services"]),
        "## Plans",
        _ABOUT_PLANS.strip(),
        _plans(results["plans"]),
        *_fleets(results["fleets"]),
    ]
    if results["skipped"]:
        parts += ["Skipped: " + "; ".join(results["skipped"]) + "."]
    return "\n\n".join(parts) + "\n"


def _machine(results: Results) -> str:
    facts = results["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    return (
        f"{results['date']}, {facts['cpu']}, {facts['cores']} cores (load before: {facts['loadBefore']}), "
        f"{facts['system']}, python {facts['python']}, {packages}, commit {facts['commit']}."
    )


def _times(timings: Sequence[Results]) -> str:
    rows = [
        (
            each["name"],
            f"`{each['command']}`",
            str(len(each["seconds"])),
            *(f"{seconds:.2f}" for seconds in each["spread"]),
            "" if each["exitCode"] == 0 else f"exit {each['exitCode']}",
        )
        for each in timings
    ]
    return _table(("what", "command", "runs", "least s", "median s", "most s", ""), rows, numbers=range(2, 6))


def _karpenter(sizes: Sequence[Results]) -> str:
    rows = [
        (f"{each['pods']:,}", f"{each['seconds']:.2f}", f"{each['pods'] / each['seconds']:,.0f}")
        for each in sizes
    ]
    return _table(("pods", "seconds", "pods a second"), rows, numbers=range(3))


def _imports(imports: Mapping[str, Sequence[str]]) -> str:
    return "\n".join(
        f"- `{what}` pulls in {'none of the heavy modules' if not found else ', '.join(found)}."
        for what, found in imports.items()
    )


def _services(found: Sequence[Results]) -> list[str]:
    """ParvaGPU's scenarios, where they were at hand."""
    if not found:
        return []
    rows = [
        (
            f"S{number}",
            *(str(each[name]) for name in ("services", "gpus", "proven", "one_slice", "theirs")),
            f"{each['choosing']:.2f}",
            f"{each['seconds']:.2f}",
        )
        for number, each in enumerate(found, 1)
    ]
    together = [f"{sum(each[name] for each in found):.2f}" for name in ("choosing", "seconds")]
    rows.append(("all", "", "", "", "", "", *together))
    columns = (
        "scenario",
        "services",
        "GPUs",
        "proven least",
        "one slice a service",
        "ParvaGPU's own",
        "choosing s",
        "whole plan s",
    )
    return ["## Services sized by load", _ABOUT_SERVICES.strip(), _table(columns, rows, numbers=range(1, 8))]


def _fleets(fleets: Mapping[str, Sequence[Results]]) -> list[str]:
    """How near the proven least random fleets come."""
    parts = []
    for name, found in fleets.items():
        rows: list[tuple[str, ...]] = []
        for what, values in (
            ("seconds", [each["seconds"] for each in found]),
            ("cheapest packing above proven least, %", [each["gap"] * 100 for each in found]),
            (
                "planned above proven least, %",
                [(each["usdPerHour"] / each["boundUsdPerHour"] - 1) * 100 for each in found],
            ),
        ):
            rows.append((what, *(f"{value:.2f}" for value in (min(values), median(values), max(values)))))
        parts += [
            f"## {len(found)} random fleets of {name}",
            _ABOUT_FLEETS.format(found[0]["how"]).strip(),
            _table(("", "least", "median", "most"), rows, numbers=range(1, 4)),
        ]
    return parts


def _scanned(found: Sequence[Results]) -> list[str]:
    if not found:
        return []
    rows = [
        (
            f"{each['pods']:,}",
            f"{each['nodes']:,}",
            f"{each['mib']:,}",
            str(each["workloads"]),
            str(len(each["seconds"])),
            *(f"{spread(each['seconds']):.2f}" for spread in (min, median, max)),
            f"{median(each['cpu']):.2f}",
            str(each["peak_mib"]),
        )
        for each in found
    ]
    columns = (
        "pods",
        "nodes",
        "MiB of JSON",
        "GPU workloads",
        "runs",
        "least s",
        "median s",
        "most s",
        "CPU s",
        "MiB",
    )
    return ["## Scanning a cluster", _ABOUT_SCANNING.strip(), _table(columns, rows, numbers=range(10))]


def _measured(found: Sequence[Results]) -> list[str]:
    if not found:
        return []
    rows = [
        (
            f"{each['samples']:,}",
            str(each["needs"]),
            f"{each['seconds']:.1f}",
            f"{each['client_cpu']:.1f}",
            f"{each['server_cpu']:.1f}",
            str(each["client_mib"]),
            str(each["server_mib"]),
        )
        for each in found
    ]
    columns = ("samples", "needs", "seconds", "CPU s", "server's CPU s", "MiB", "server's MiB")
    return ["## Measuring by Prometheus", _ABOUT_MEASURING.strip(), _table(columns, rows, numbers=range(7))]


def _plans(plans: Sequence[Results]) -> str:
    names = list(dict.fromkeys(each["name"] for plan in plans for each in plan["baselines"]))
    rows = []
    for plan in plans:
        baselines = {each["name"]: each for each in plan["baselines"]}
        rows.append(
            (
                plan["name"],
                f"{plan['workloads']:,}",
                f"{plan['pods']:,}",
                f"{plan['usdPerHour']:,.2f}",
                f"{plan['optimalUsdPerHour']:,.2f}",
                f"{plan['boundUsdPerHour']:,.2f}",
                f"{plan['gap']:.2%}",
                *(_baseline(baselines.get(name)) for name in names),
                str(plan["unplaced"]),
            )
        )
    columns = (
        "fleet",
        "workloads",
        "pods",
        "planned",
        "cheapest packing",
        "proven least",
        "gap",
        *names,
        "unplaced",
    )
    return _table(columns, rows, numbers=range(1, len(columns)))


def _baseline(baseline: Results | None) -> str:
    if baseline is None:
        return "-"
    return f"{baseline['usdPerHour']:,.2f}" + (f" ({baseline['misfits']})" if baseline["misfits"] else "")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: range) -> str:
    rule = ["--:" if where in numbers else "---" for where in range(len(columns))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, rule, *rows))
