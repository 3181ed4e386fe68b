"""The report: one HTML file that needs nothing else, put together from a plan and what is known beside it.

Everything that comes from a plan passes through Jinja's escaping, and a content policy lets the browser run the page's
own script and style and nothing else, whatever a name holds.
"""

from __future__ import annotations

import base64
import hashlib
from fractions import Fraction
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import gpuslice
from gpuslice.costs.shares import bill
from gpuslice.plan.comparison import dearer_than_now
from gpuslice.report.charts import charts, moments
from gpuslice.report.fleet import fleet
from gpuslice.report.ladder import ladder
from gpuslice.report.sections import Colours, pools, workload_rows
from gpuslice.report.subject import Subject
from gpuslice.units import HOURS_A_MONTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.costs.shares import Cost

_FEW_PICTURES: Final = 40  # more are folded away, pool by pool
_ROWS_AT_ONCE: Final = 12


def page(subject: Subject) -> str:
    """The report's HTML. The same subject gives the same text."""
    style, script = _own("page.css"), _own("page.js")
    return (
        _templates()
        .get_template("page.html")
        .render(
            subject=subject,
            plan=subject.plan,
            version=gpuslice.__version__,
            style=Markup(style),  # noqa: S704  our own files
            script=Markup(script),  # noqa: S704  as above
            style_hash=_hash(style),
            script_hash=_hash(script),
            **({} if subject.violations else _drawn(subject)),
        )
    )


def _drawn(subject: Subject) -> dict[str, object]:
    """All that is shown of a plan with which nothing is wrong."""
    plan = subject.plan
    split = bill(plan, subject.workloads, subject.catalog, subject.today)
    colours = Colours(split, {workload.name: workload.tenant for workload in subject.workloads})
    shown = pools(fleet(plan, subject.workloads, subject.catalog), subject, split, colours)
    return {
        "bill": split,
        "colours": colours,
        "ladder": ladder(plan.summary),
        "dearer": dearer_than_now(plan.summary),
        "pools": shown,
        "folded": sum(len(pool_section.pictures) for pool_section in shown) > _FEW_PICTURES,
        "rows": workload_rows(subject, split, colours),
        "at_once": _ROWS_AT_ONCE,
        "simulation": subject.simulation,
        "charts": () if subject.simulation is None else charts(subject.simulation.outcomes),
        "moments": () if subject.simulation is None else moments(subject.simulation.demand.seconds),
        "spare_pools": len(plan.pools) - len(shown),
        "pods": sum(assignment.replicas for assignment in plan.assignments),
        "nodes": sum(pool_section.pool.count for pool_section in shown),
        "gpus": _gpus(subject),
        "gpus_whole": sum(assignment.replicas * assignment.asks.count for assignment in plan.assignments),
        "scale_of": _scale,
    }


def _gpus(subject: Subject) -> str:
    """Cards bought, fractions of one added up: "75", "61.5"."""
    types = subject.catalog.by_name()
    count = Fraction(0)
    for node in (node for pool in subject.plan.pools for node in pool.nodes):
        machine = types[node.instance_type]
        count += node.count * (machine.gpu_count or machine.gpu_fraction)
    return f"{float(count):,.2f}".rstrip("0").rstrip(".")


def _scale(costs: Sequence[Cost], least: float) -> float:
    """The dollars that the longest bar stands for."""
    return max([least, *(max(cost.planned, cost.before or 0.0) for cost in costs)]) or 1.0


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("gpuslice.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"month": month, "hour": hour, "percent": percent, "plural": plural, "sign": sign}
    return environment


def _own(name: str) -> str:
    return resources.files("gpuslice.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def month(usd_per_hour: float) -> str:
    """Dollars a month: "$74,283"."""
    return f"${usd_per_hour * HOURS_A_MONTH:,.0f}".replace("$-", "−$")


def sign(usd_per_hour: float) -> str:
    """A difference in dollars a month: "−$38,392", "+$12"."""
    amount = round(usd_per_hour * HOURS_A_MONTH)
    return f"{'−' if amount < 0 else '+' if amount else ''}${abs(amount):,}"


def hour(usd: float) -> str:
    """Dollars an hour: "$101.76"."""
    return f"${usd:,.2f}"


def percent(share: float, digits: int = 0) -> str:
    """A share: "34.1%"."""
    return f"{share:.{digits}%}"


def plural(count: int, word: str) -> str:
    """A count and its word: "1 pod", "1,200 pods"."""
    return f"{count:,} {word}{'s' * (count != 1)}"
