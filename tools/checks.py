"""The page of the checks that `gpuslice doctor` makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuslice.cluster.checks.doctor import CHECKS
from gpuslice.cluster.client.resources import CUSTOM_OWNERS, OWNERS
from tools.markdown import code, page, table

if TYPE_CHECKING:
    from gpuslice.cluster.checks.finding import Check


def check_page() -> str:
    """The page."""
    return page(
        "Checks",
        "`gpuslice doctor` looks at each of these, in a cluster or in a dump (`--from DIRECTORY`), and changes "
        "nothing. What it finds is printed with the evidence, what follows from it, and what to do. It ends with "
        "exit code 1 if something is *broken*: it doesn't work, now or at the next pod. A *risk* works, and costs "
        "money or somebody's neighbour. A check whose objects can't be read is *unknown*: it says so, with what is "
        "missing, instead of passing, and by itself that doesn't change the exit code.",
        table(
            ("check", "what holds where nothing is found", "otherwise", "reads"),
            [
                (
                    code(each.code),
                    each.title,
                    each.severity.value,
                    _reads(each),
                )
                for each in CHECKS
            ],
        ),
    )


def _reads(check: Check) -> str:
    """The kinds that a check needs; those that pods come from by one word."""
    kinds = set(check.reads)
    owners = {*OWNERS, *CUSTOM_OWNERS}
    names = [one.plural for one in check.reads if not (owners <= kinds and one in owners)]
    return ", ".join([*names, *(["the owners of pods"] if owners <= kinds else [])]) or "-"
