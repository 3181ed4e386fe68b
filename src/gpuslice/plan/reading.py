"""The one way to read a plan file: one of an earlier version is brought up to date as it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.documents import read_documents
from gpuslice.artefacts.strict import decode
from gpuslice.errors import InputError
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.resource_names import SHARED_GPU
from gpuslice.plan.artefact import API_VERSION, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuslice.artefacts.documents import Document

_FIRST_VERSION: Final = "gpuslice.io/v1alpha1"
"""Said what pods ask for in four fields of an assignment, and of a pool by what name it offers its slices."""
_ASKS: Final = {"resource": "resource", "quantity": "count", "seat": "seat"}
_REQUEST: Final = {"memory": "gpuMemory", "time": "gpuTime"}


def read_plan(path: str) -> Plan:
    """The plan in a file; "-" is standard input.

    Raises:
        InputError: it can't be read, holds something else, or holds more than that.
    """
    return plan_in(read_documents(path))


def plan_in(documents: Sequence[Document]) -> Plan:
    """The plan in a file that was read.

    Args:
        documents: of the file, at least one.

    Raises:
        InputError: it isn't one plan.
    """
    first, *others = documents
    if others:
        raise InputError(
            f"holds {len(documents)} documents", where=first.where, fix="name a file with one plan"
        )
    return decode(_renewed(first.data), Plan, where=first.where)


def _renewed(data: object) -> object:
    """A plan's data as the version of today has it; what isn't a plan of an earlier one, as it is."""
    if not isinstance(data, dict) or (data.get("apiVersion"), data.get("kind")) != (_FIRST_VERSION, "Plan"):
        return data
    renewed = {
        key: _listed(value, _RENEWED[key]) if key in _RENEWED else value for key, value in data.items()
    }
    return renewed | {"apiVersion": API_VERSION}


def _listed(values: object, renewed: Callable[[dict[str, object]], dict[str, object]]) -> object:
    """The entries of a list brought up to date; what is no list of mappings is left for the decoder to refuse."""
    if not isinstance(values, list):
        return values
    return [renewed(value) if isinstance(value, dict) else value for value in values]


def _pool(old: dict[str, object]) -> dict[str, object]:
    kept = {key: value for key, value in old.items() if key != "resource"}
    match old:
        case {"resource": resource, "layout": {"mechanism": Mechanism.WHOLE.value}} if resource == SHARED_GPU:
            kept["asShared"] = True
        case _:
            pass
    return kept | {"carrier": "device-plugin"}


def _assignment(old: dict[str, object]) -> dict[str, object]:
    asks: dict[str, object] = {"by": "extended-resources"}
    asks |= {new: old[key] for key, new in _ASKS.items() if key in old}
    moved = {*_ASKS}
    request = old.get("request")
    if isinstance(request, dict) and request.keys() == _REQUEST.keys():
        asks |= {new: request[key] for key, new in _REQUEST.items()}
        moved.add("request")
    return {key: value for key, value in old.items() if key not in moved} | {"asks": asks}


_RENEWED: Final[dict[str, Callable[[dict[str, object]], dict[str, object]]]] = {
    "pools": _pool,
    "assignments": _assignment,
}
