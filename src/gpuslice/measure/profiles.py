"""What copies came to, as rows of a service's `profiles` in workloads.yaml: one replica in one slice.

The slices beside it are as busy as its own, since that is what was measured: k equal copies on one GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpuslice.errors import InputError
from gpuslice.measure.shares import Share
from gpuslice.measure.write_back import changed_in_place
from gpuslice.workloads.model import ServiceProfile, Workload
from gpuslice.workloads.slice_names import slice_name

_DIGITS = 4  # that a measurement of a minute is good for


@dataclass(frozen=True, slots=True)
class Load:
    """The demand and objective of a workload that is to become a service.

    Attributes:
        rate: demand, in `unit`.
        unit: for people.
        latency_ms: the objective.
    """

    rate: float
    unit: str
    latency_ms: float


def profiles_of(gpu: str | None, shares: Sequence[Share], *, mps: bool, batch: int) -> list[ServiceProfile]:
    """A row for each number of copies that told its progress; none where the GPU is not one of EC2's.

    Args:
        gpu: our name of the model.
        shares: what was measured; a unit of progress is one batch.
        mps: copies shared by MPS, limited as the device plugin does.
        batch: requests in one.
    """
    if gpu is None:
        return []
    return [
        ServiceProfile(
            slice=slice_name(_slice(gpu, share.copies, mps=mps)),
            batch=batch,
            processes=1,
            rate=_rounded(share.rate * batch),
            latency_ms=_rounded(1000 / share.rate),
        )
        for share in shares
        if share.rate and not share.by_probe
    ]


def profile_fields(profile: ServiceProfile) -> dict[str, object]:
    """The fields of a profile in workloads.yaml."""
    return {
        "slice": profile.slice,
        "batch": profile.batch,
        "processes": profile.processes,
        "rate": profile.rate,
        "latencyMs": profile.latency_ms,
    }


def write_profiles(
    text: str,
    name: str,
    workload: str,
    workloads: Mapping[str, Workload],
    profiles: Sequence[ServiceProfile],
    load: Load | None,
) -> str:
    """The file's text with these profiles in a workload's service; those of the same slice, batch and processes go.

    Args:
        text: of the file, workloads.yaml, already known to be right.
        name: of the file, for messages.
        workload: whose they are.
        workloads: those of the file, read with assumed needs accepted.
        profiles: at least one.
        load: makes a service of a workload that is none yet: its replicas become the planner's choice.

    Raises:
        InputError: it is no service and no load is given, or is one and a load is; or the file can't be changed.
    """
    service = workloads[workload].service
    if (service is None) == (load is None):
        raise InputError(
            "is no service: profiles need its demand and objective"
            if load is None
            else "is a service already, with a demand and an objective of its own",
            where=f"{name}, {workload}",
            fix='give --demand "800 requests/s" and --slo-ms 200'
            if load is None
            else "leave out --demand and --slo-ms",
        )
    new = {(profile.slice, profile.batch, profile.processes) for profile in profiles}

    def change(entry: dict[str, object]) -> None:
        if entry["name"] != workload:
            return
        if load is not None:
            entry.pop("replicas", None)
            entry["service"] = {
                "demand": {"rate": _rounded(load.rate), "unit": load.unit},
                "slo": {"latencyMs": _rounded(load.latency_ms)},
                "profiles": [],
            }
        rows = _rows(entry)
        kept = [row for row in rows if _key(row) not in new]
        rows[:] = kept
        rows += [_flow(profile_fields(profile)) for profile in profiles]

    return changed_in_place(text, name, workloads, {workload}, change)


def _rows(entry: dict[str, object]) -> list[dict[str, object]]:
    service = entry["service"]
    rows = service["profiles"] if isinstance(service, dict) else None
    if not isinstance(rows, list):
        raise TypeError("a file that was read has profiles in its service")
    return rows


def _key(row: Mapping[str, object]) -> tuple[str, object, object]:
    return slice_name(str(row["slice"])), row.get("batch", 1), row.get("processes", 1)


def _flow(fields: Mapping[str, object]) -> dict[str, object]:
    """One line a row, as a table."""
    from ruamel.yaml.comments import CommentedMap

    row: dict[str, object] = CommentedMap(fields)
    getattr(row, "fa").set_flow_style()  # noqa: B009  ruamel's own, on what is a dict to us
    return row


def _slice(gpu: str, copies: int, *, mps: bool) -> str:
    return f"{gpu}/whole" if copies == 1 else f"{gpu}/{'mps' if mps else 'time-slicing'}/{copies}"


def _rounded(value: float) -> float:
    figure = float(f"{value:.{_DIGITS}g}")
    return int(figure) if figure == int(figure) else figure
