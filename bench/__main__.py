"""python -m bench: time the commands, plan the examples, traces and random fleets, print tables, write JSON.

--repeat N    timed runs of each quick command (default 5)
--data DIR    a folder with openb/*.csv.gz, gentd26/*.csv.gz, parvagpu/; default: the environment's GPUSLICE_BENCH_DATA
--out FILE    results as JSON (default .bench/latest.json)
--page FILE   the same as a page of the documentation
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import karpenter, parvagpu, prometheus, scan
from bench.report import body, page
from bench.timing import PROGRAM, ROOT, Timing, machine, summary_of, timed
from tests.random_fleets import fleet

_HEAVY: Final = (
    "highspy",
    "numpy",
    "boto3",
    "botocore",
    "kubernetes",
    "lightkube",
    "rich",
    "ruamel.yaml",
    "yaml",
)
_SEEDS: Final = range(1, 7)
_PATIENCE: Final = "6"  # times the usual work
_HASTE: Final = "0.5"
_MANY: Final = 20


@dataclass
class Bench:
    """What has been measured so far."""

    repeat: int
    folder: Path
    timings: list[Timing] = field(default_factory=list)
    plans: list[dict[str, object]] = field(default_factory=list)
    fleets: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    measured: list[prometheus.Measured] = field(default_factory=list)
    services: tuple[parvagpu.Solved, ...] = ()
    scanned: list[scan.Scanned] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def command(
        self, name: str, *arguments: str | Path, repeat: int | None = None, shown: str = ""
    ) -> Timing:
        """Time `gpuslice` with these arguments."""
        return self._keep(timed(name, [PROGRAM, *arguments], repeat=repeat or self.repeat, shown=shown))

    def plan(
        self, name: str, source: str | Path, *options: str, repeat: int | None = None, shown: str = ""
    ) -> None:
        """Time a plan, and keep what it came to."""
        words = shown or " ".join(("gpuslice plan -f", str(source), *options))
        done = self.command(
            f"plan {name}", "plan", "-f", source, *options, "-o", "json", repeat=repeat, shown=words
        )
        if found := summary_of(done):
            self.plans.append({"name": name, **found})
        else:
            self.skipped.append(f"{name} made no plan (exit code {done.exit_code})")

    def start_up(self) -> None:
        """What everybody waits for, whatever they do."""
        self.command("help", "--help")
        command = [sys.executable, "-c", "import gpuslice"]
        self._keep(timed("import", command, repeat=self.repeat, shown='python -c "import gpuslice"'))

    def examples(self) -> None:
        """The fleets that come with the project."""
        self.command("scan fleet", "scan", "--from", "examples/fleet")
        self.plan("fleet", "examples/fleet")
        self.plan("fleet on Bottlerocket", "examples/fleet", "--stack", "bottlerocket")
        for path in sorted((ROOT / "examples").glob("*/workloads.yaml")):
            self.plan(path.parent.name, path.relative_to(ROOT))

    def random_fleets(self) -> None:
        """Fleets of 50 workloads."""
        for seed in _SEEDS:
            path = self.folder / f"random-{seed}.yaml"
            path.write_text(fleet(seed))
            self.plan(f"random {seed}", path, shown=f"gpuslice plan -f random-{seed}.yaml")

    def many_fleets(self, name: str, sizes: Sequence[int], tenants: int, *options: str) -> None:
        """Fleets one after the other: how near the proven least they come, and how soon."""
        how = f"{tenants} tenants, " + (f"`{' '.join(options)}`" if options else "the default effort")
        for seed, size in enumerate(sizes, 1):
            path = self.folder / f"{name}-{seed}.yaml".replace(" ", "-")
            path.write_text(fleet(seed, size, tenants=tenants))
            done = timed(f"fleet {seed}", [PROGRAM, "plan", "-f", path, *options, "-o", "json"], repeat=1)
            if found := summary_of(done):
                self.fleets[name].append({"seconds": round(done.spread[1], 2), "how": how, **found})
                words = f"{size} workloads, seed {seed}: gap {found['gap']:.2%}"
                print(f"{done.spread[1]:8.2f} s  {words}", file=sys.stderr, flush=True)
            else:
                self.skipped.append(f"fleet {seed} of {size} made no plan (exit code {done.exit_code})")

    def many_pods(self) -> None:
        """The same 200 classes with ten times the pods: time should depend on the classes alone."""
        for pods in (10_000, 100_000):
            path = self.folder / f"pods-{pods}.yaml"
            path.write_text(fleet(1, 200, tenants=5, pods=pods))
            options = ("--gap", "0.02", "--effort", _PATIENCE)
            words = " ".join((f"gpuslice plan -f pods-{pods}.yaml", *options))
            self.plan(f"{pods:,} pods, 200 classes", path, *options, repeat=1, shown=words)

    def many_kinds(self) -> None:
        """Two thousand kinds of pods: too many to plan well in ten seconds, which must be enough all the same."""
        path = self.folder / "kinds-2000.yaml"
        path.write_text(fleet(1, 2_000, tenants=5))
        self.plan("2,000 kinds", path, repeat=1, shown="gpuslice plan -f kinds-2000.yaml")

    def report(self) -> None:
        """The page of a plan of a thousand nodes."""
        from gpuslice.artefacts.documents import dump_json
        from gpuslice.workloads.artefact import WorkloadSet
        from gpuslice.workloads.dump import dump
        from tests.report.large import large

        plan, workloads, catalog = large(1000)
        plan_file, workloads_file = self.folder / "large.json", self.folder / "large.yaml"
        plan_file.write_text(dump_json(plan))
        workloads_file.write_text(dump(WorkloadSet(catalog.region, workloads)))
        files = ("-f", plan_file, "-f", workloads_file, "--out", self.folder / "report.html")
        words = "gpuslice report, 1,000 nodes, with the workloads"
        self.command("report 1,000 nodes", "report", *files, repeat=3, shown=words)

    def measuring(self) -> None:
        """Needs from a real Prometheus, once: a fortnight of a thousand pods."""
        found = prometheus.measure(self.folder)
        if isinstance(found, str):
            self.skipped.append(found)
            return
        self.measured.append(found)
        print(
            f"{found.seconds:8.2f} s  gpuslice measure prometheus, {found.samples:,} samples, "
            f"{found.client_mib} MiB (server: {found.server_mib} MiB)",
            file=sys.stderr,
            flush=True,
        )

    def parvagpu(self, data: str) -> None:
        """Published scenarios of services sized by their load, where they are at hand."""
        folder = Path(data, "parvagpu")
        if not data or not folder.is_dir():
            self.skipped.append("parvagpu (no such folder in the data folder: --data DIR)")
            return
        self.services = parvagpu.solved(folder)
        for number, each in enumerate(self.services, 1):
            words = f"ParvaGPU's scenario {number}: {each.gpus} GPUs, proven {each.proven}"
            print(f"{each.seconds:8.2f} s  {words}", file=sys.stderr, flush=True)

    def scanning(self) -> None:
        """A large cluster, from an API server of its own."""
        found = scan.measure(self.folder, max(3, self.repeat))
        if isinstance(found, str):
            self.skipped.append(found)
            return
        self.scanned.append(found)
        print(
            f"{median(found.seconds):8.2f} s  gpuslice scan -A, {found.pods:,} pods, {found.nodes:,} nodes, "
            f"{found.peak_mib} MiB",
            file=sys.stderr,
            flush=True,
        )

    def traces(self, data: str) -> None:
        """Public traces, where they are at hand."""
        if not data:
            self.skipped.append("traces (name a folder: --data DIR)")
            return
        for kind, options in (("openb", ()), ("gentd26", ("--today", "A100-80GB"))):
            paths = sorted(path for path in Path(data, kind).glob("*.csv.gz") if "node_list" not in path.name)
            if not paths:
                self.skipped.append(f"{kind} (no {kind}/*.csv.gz in the data folder)")
            for path in paths:
                name = path.name.removesuffix(".csv.gz")
                made = self.folder / f"{name}.yaml"
                words = " ".join(("gpuslice scan --from-trace", path.name, *options))
                self.command(
                    f"scan {name}", "scan", "--from-trace", path, *options, "--out", made, shown=words
                )
                for less in ((), ("--without", "metered")):
                    words = " ".join(("gpuslice plan -f", made.name, *less))
                    self.plan(" ".join((name, *less[1:])), made, *less, repeat=1, shown=words)
            for path in paths[:1]:
                which = ("--policies", "whole") if kind == "openb" else ()
                words = " ".join(("gpuslice simulate --trace", path.name, *options, *which))
                replayed = ("simulate", "--trace", path, *options, *which)
                self.command(f"simulate {kind}", *replayed, repeat=1, shown=words)

    def results(self, facts: dict[str, object]) -> dict[str, object]:
        """Everything, as it goes into the JSON file."""
        return {
            "date": dt.datetime.now(dt.UTC).date().isoformat(),
            "machine": facts,
            "timings": [
                {
                    "name": each.name,
                    "command": each.command,
                    "seconds": [round(seconds, 4) for seconds in each.seconds],
                    "spread": [round(seconds, 4) for seconds in each.spread],
                    "exitCode": each.exit_code,
                }
                for each in self.timings
            ],
            "imports": {
                "import gpuslice": imported("gpuslice"),
                "import gpuslice.cli.main": imported("gpuslice.cli.main"),
            },
            "karpenter": [
                {"pods": pods, "seconds": min(karpenter.seconds(karpenter.crowd(pods)) for _ in range(3))}
                for pods in karpenter.SIZES
            ],
            "measured": [asdict(each) for each in self.measured],
            "services": [asdict(each) for each in self.services],
            "scanned": [asdict(each) for each in self.scanned],
            "plans": self.plans,
            "fleets": self.fleets,
            "skipped": self.skipped,
        }

    def _keep(self, timing: Timing) -> Timing:
        print(f"{timing.spread[1]:8.2f} s  {timing.command}", file=sys.stderr, flush=True)
        self.timings.append(timing)
        return timing


def imported(module: str) -> list[str]:
    """The heavy modules that importing a module pulls in."""
    script = f"import sys, {module}; print(*(each for each in {_HEAVY!r} if each in sys.modules))"
    return timed(module, [sys.executable, "-c", script], repeat=1).stdout.split()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5, metavar="N")
    parser.add_argument("--data", default=os.environ.get("GPUSLICE_BENCH_DATA", ""), metavar="DIR")
    parser.add_argument("--out", type=Path, default=ROOT / ".bench/latest.json", metavar="FILE")
    parser.add_argument("--page", type=Path, metavar="FILE")
    options = parser.parse_args()
    facts = machine()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(max(1, options.repeat), Path(folder))
        bench.start_up()
        bench.examples()
        bench.random_fleets()
        bench.many_fleets("10 to 30 workloads", [10 + seed for seed in range(_MANY + 1)], 4)
        bench.many_fleets("200 workloads", [200] * _MANY, 5, "--effort", _HASTE)
        bench.many_pods()
        bench.many_kinds()
        bench.report()
        bench.scanning()
        bench.measuring()
        bench.parvagpu(options.data)
        bench.traces(options.data)
        results = bench.results(facts)
    print(body(results))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    if options.page:
        options.page.write_text(page(results))


if __name__ == "__main__":
    main()
