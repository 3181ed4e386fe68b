"""The page of answers: exit codes, what can refuse a slice, what the verifier checks.

What is explained here by hand is held to the code: a rule without words, or words without a rule, is an error.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from gpuslice import errors, verifier
from gpuslice.artefacts.documents import Document
from gpuslice.artefacts.part import API_VERSION
from gpuslice.hardware.fit import Binds
from gpuslice.workloads.artefact import parse_workloads
from tools.markdown import code, page, table
from tools.sources import first_arguments, texts

_ERROR_FORM: Final = """\
An error is one or two lines on standard error: where and what was found, then what to do about it.

```text
error: {example}
```

Nothing is half written: files and directories are made under a temporary name and moved. `--debug` (or the environment
variable `GPUSLICE_DEBUG`) shows the traceback too.
"""
_PLAN_NO: Final = (
    "The answer is no: a workload fits nothing (`gpuslice plan`; the others are planned all the same), or "
    "nothing was found (`gpuslice catalog`), or something is broken (`gpuslice doctor`), or the cluster differs from "
    "the plan (`gpuslice status -f`)."
)

_BINDS: Final = {
    Binds.MODEL: "The GPU is not among those in `gpu.allow`; or no model is known at all.",
    Binds.CAPABILITY: "The GPU's compute capability is below `gpu.minComputeCapability`, or, where that is not stated "
    "and no models are named, below that of the GPU it runs on today.",
    Binds.FEATURE: "The GPU, or the MIG instance, lacks one of `gpu.features`.",
    Binds.COUNT: "Several GPUs per pod come only whole.",
    Binds.UNKNOWN: "Memory, duty or the GPU that it was read on is not known: nothing is sliced on a guess. A whole "
    "GPU must not be smaller or slower than today's in what is not known.",
    Binds.PROFILE: "A service sized by its load was not measured there, or on nothing smaller of the same GPU, with a "
    "latency that meets its objective.",
    Binds.ISOLATION: "The mechanism isolates less than `isolation` asks for.",
    Binds.PREALLOCATION: "The framework takes all the memory that it sees, its own limit can't be set from outside, "
    "and time-slicing limits nobody.",
    Binds.GANG: "Its pods are ranks of one job that talk by NCCL, which takes no GPU twice, so no two may share one.",
    Binds.MEMORY: "The peak, with the margin where one is taken, is more than the slice has.",
    Binds.LOAD: "It would keep the slice busy beyond the sustained load, or beyond its slot's share of the GPU's time.",
    Binds.SLOWDOWN: "The expected slowdown is above `maxSlowdown`.",
}

_VERIFIERS: Final = tuple(
    import_module(f"{verifier.__name__}.{module.name}") for module in iter_modules(verifier.__path__)
)
_RULES: Final = {
    "schema": "Every figure is inside the schema.",
    "quantity": "Quantities are quantities and not negative; a pod asks for as many GPUs as it needs.",
    "catalog": "The catalog is the one that the plan names: region and date of prices.",
    "pool-names": "Pools have names of their own, and assignments name pools that exist.",
    "unknown-workload": "Every workload in the plan is one that it was made for.",
    "replicas": "Every replica of every workload is placed once, and nodes carry exactly what is assigned; a service "
    "sized by its load has no replica too many.",
    "demand": "The replicas of a service sized by its load carry its demand, in the plan and in the cheapest packing.",
    "profile": "What such a replica is said to do was measured, on its slice or a smaller one of the GPU, and meets "
    "the objective.",
    "neighbours": "On a shared GPU, such a service has replicas of its own beside it, as it was measured, and nobody "
    "else.",
    "slices": "The cheapest packing says on which slices such services are.",
    "one-home": "Replicas that share a pod template go to one pool, or have seats in all of their pools.",
    "one-template": "With seats, all pods of a workload ask for the same; where a framework is told its share of a "
    "GPU, it has seats on that GPU only.",
    "seats": "Every planned replica has a seat; a limited pool has as many nodes as it may have, with all seats "
    "taken; and each workload with seats has one pool of its own where more of it may go.",
    "unplaced": "Whoever is not placed stands there once, with all replicas and a reason.",
    "layout": "The GPU exists and has the mechanism, with a possible number of replicas.",
    "geometry": "MIG instances have a valid placement on the GPU; as many geometries as GPUs.",
    "stack": "The stack can make the layout.",
    "slice": "The pool has the slice that is assigned.",
    "resource": "Pods ask for the extended resource that stands for their slice.",
    "instance-types": "Types are in the catalog, have the layout's GPU and the pods' architecture, and are the pool's.",
    "purchases": "Nodes are bought in the ways that their pool lists.",
    "interruptible": "Nobody who may not be interrupted is where spot is bought.",
    "arch": "Pods are built for their nodes' architecture.",
    "price": "Prices are the catalog's, and the bills are the sums of the nodes'.",
    "tenants": "Tenants never share a time-sliced or MPS GPU.",
    "metered": "Metered nodes have one GPU.",
    "request": "Pods on metered pools without seats, and only those, ask for memory and time, and for no less "
    "than they need.",
    "fit/": "Every slice fits its workload, by the same rule that planning uses; the part after the stroke is what "
    "binds (above).",
    "figures": "Slowdown and utilisation are what the rule says; demand and limit of a service are its own.",
    "memory-limit": "Frameworks are told a limit where the mechanism enforces none: no more than their share, no less "
    "than their need.",
    "slots": "Every pod on a node can have a slice that will do (Hall's theorem).",
    "cpu": "CPU requests fit beside the daemonsets.",
    "node-memory": "Memory requests fit beside the daemonsets.",
    "pods": "Pods fit beside the daemonsets'.",
    "memory": "GPU memory asked for is there, and no more is promised than the GPU has less its margin.",
    "load": "GPU time asked for is there, and no more is promised than the sustained load.",
    "sum": "What is said of the whole is the sum of its parts.",
    "bound": "Bound, optimal and realised price are in that order.",
    "gap": "The gap is (optimal - bound) / optimal.",
    "status": "Infeasible means that somebody is unplaced.",
    "node-limits": "Pods take no more of a node's storage, ports and other resources than it has, and no more of them "
    "are on it than anti-affinity and spreads by host allow.",
    "affinity": "Every machine that a pool may get has the labels that its pods require, by itself or because the pool "
    "is bound to them.",
    "policy/max-nodes": "No more nodes of a type are bought than the policy allows.",
    "policy/max-pools": "There are no more pools than the policy allows.",
    "policy/reserved": "No more reserved nodes are used than there are.",
    "policy/spot-share": "No more of the bill is spot than the policy allows.",
    "policy/forbidden": "Nothing is bought that the policy forbids.",
    "stays": "Who stays where it is isn't planned.",
    "target": "The plan names the object that the workload names.",
}


class StaleWordsError(RuntimeError):
    """What is explained and what the code has are not the same."""


def answers() -> str:
    """The page."""
    return page(
        "Answers: exit codes, refusals, checks",
        "## Exit codes",
        _exit_codes(),
        _ERROR_FORM.format(example=_example()),
        "## What can refuse a slice",
        "`fit` decides whether a slice gives a need what it asks for, by these rules in this order. The first that "
        "refuses is what `gpuslice explain WORKLOAD` prints in words, and `binds` in its JSON. What they compute: "
        "[fit rules](../concepts/fit.md).",
        _refusals(),
        "## What the verifier checks",
        "Every plan passes the verifier before it leaves the planner. It shares no code with the parts that make "
        "plans: it recomputes each constraint in integers from the plan, the workloads and the catalog.",
        _rules(),
    )


def _example() -> str:
    """An error as it is printed."""
    entry = {"name": "search/embedder", "replicas": 12, "need": {"memory": 5200, "duty": 0.18, "on": "A10G"}}
    data = {"apiVersion": API_VERSION, "kind": "Workloads", "region": "us-east-1", "workloads": [entry]}
    try:
        parse_workloads([Document(data, "workloads.yaml")])
    except errors.InputError as error:
        return str(error)
    raise StaleWordsError("tools/answers.py: the example is no error any more")


def _exit_codes() -> str:
    classes = sorted(
        (
            each
            for _, each in inspect.getmembers(errors, inspect.isclass)
            if issubclass(each, errors.GpusliceError) and each is not errors.GpusliceError
        ),
        key=lambda each: each.exit_code,
    )
    rows: list[tuple[object, str]] = [(0, "Done.")]
    for each in classes:
        meaning = (inspect.getdoc(each) or "").partition(" Exit code")[0]
        rows.append((each.exit_code, _PLAN_NO if each is errors.AnswerIsNoError else meaning))
    rows.append((130, "Interrupted (Ctrl-C)."))
    return table(("code", "meaning"), rows)


def _refusals() -> str:
    missing = [each for each in Binds if each not in _BINDS]
    if missing:
        raise StaleWordsError(f"no words in tools/answers.py for {missing}")
    return table(("binds", "meaning"), [(code(each.value), _BINDS[each]) for each in Binds])


def _rules() -> str:
    named = {text for module in _VERIFIERS for text in first_arguments(module, "Violation")}
    unexplained = sorted(named - _RULES.keys())
    anywhere = {text for module in _VERIFIERS for text in texts(module)}
    gone = sorted(_RULES.keys() - anywhere)
    if unexplained or gone:
        raise StaleWordsError(
            f"tools/answers.py: rules without words: {unexplained}; words without rule: {gone}"
        )
    return table(
        ("rule", "what holds"),
        [(code(rule + "…" * rule.endswith("/")), words) for rule, words in _RULES.items()],
    )
