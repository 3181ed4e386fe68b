"""The page of the checks that `gpuslice doctor` makes."""

from __future__ import annotations

from gpuslice.cluster.doctor import CHECKS
from tools.markdown import code, page, table


def check_page() -> str:
    """The page."""
    return page(
        "Checks",
        "`gpuslice doctor` looks at each of these, in a cluster or in a dump (`--from DIRECTORY`), and changes "
        "nothing. What it finds is printed with the evidence, what follows from it, and what to do. It ends with "
        "exit code 1 if something is *broken*: it doesn't work, now or at the next pod. A *risk* works, and costs "
        "money or somebody's neighbour. A check whose objects can't be read says so instead of passing.",
        table(
            ("check", "what holds where nothing is found", "otherwise", "reads"),
            [
                (
                    code(each.code),
                    each.title,
                    each.severity.value,
                    ", ".join(one.plural for one in each.reads) or "-",
                )
                for each in CHECKS
            ],
        ),
    )
