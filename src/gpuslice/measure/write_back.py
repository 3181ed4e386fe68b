"""Measured needs into a workloads.yaml that a person keeps: comments, order and everything else stay as they are.

Only `need.memory`, `duty`, `on`, `source` and `measurement` are written, and `preallocates` where a reading says so. A
figure that could not be measured leaves a declared one alone, and takes an older measured one away, which is no longer
known to hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from io import StringIO

import msgspec

from gpuslice.artefacts.documents import parse_documents, to_plain
from gpuslice.errors import InputError
from gpuslice.measure.statistics import Measured
from gpuslice.units import PPM, format_memory
from gpuslice.workloads.artefact import parse_workloads
from gpuslice.workloads.model import Workload

_WIDTH = 4096  # a person's long lines stay as they are


@dataclass(frozen=True, slots=True)
class Written:
    """A file with measured needs in it.

    Attributes:
        text: of the whole file.
        remarks: for each workload written, what a person should do or know, if anything.
    """

    text: str
    remarks: dict[str, tuple[str, ...]]


def write_needs(
    text: str, name: str, needs: Mapping[str, Measured], workloads: Mapping[str, Workload]
) -> Written:
    """The file's text with the needs in it.

    Args:
        text: of the file, workloads.yaml, already known to be right.
        name: of the file, for messages.
        needs: by workload's name; others are left as they are.
        workloads: those of the file, read with assumed needs accepted.

    Raises:
        InputError: the file can't be changed line by line (JSON, anchors over an entry).
    """
    remarks: dict[str, tuple[str, ...]] = {}

    def change(entry: dict[str, object]) -> None:
        measured = needs.get(str(entry["name"]))
        if measured is not None:
            remarks[str(entry["name"])] = tuple(_write(entry, measured, workloads[str(entry["name"])]))

    return Written(changed_in_place(text, name, workloads, set(needs), change), remarks)


def changed_in_place(
    text: str,
    name: str,
    workloads: Mapping[str, Workload],
    changing: Collection[str],
    change: Callable[[dict[str, object]], None],
) -> str:
    """The file's text with some entries changed, and all else as it was.

    Args:
        text: of the file, workloads.yaml, already known to be right.
        name: of the file, for messages.
        workloads: those of the file, read with assumed needs accepted.
        changing: names of those that may change.
        change: changes an entry; is given every one.

    Raises:
        InputError: the file can't be changed line by line (JSON, anchors over an entry), or is wrong then.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _WIDTH
    sequence, offset = _indentation(text)
    yaml.indent(mapping=2, sequence=sequence, offset=offset)
    try:
        root = yaml.load(text)
    except YAMLError as error:
        raise InputError(
            f"can't be changed in place: {' '.join(str(error).split())[:200]}",
            where=name,
            fix="write it as plain YAML",
        ) from None
    for entry in root["workloads"]:
        change(entry)
    out = StringIO()
    yaml.dump(root, out)
    changed = out.getvalue()
    # What is handed out has been read back: an anchor shared with an entry that was not measured would change both.
    documents = parse_documents(changed.encode(), name)
    after = {
        workload.name: workload for workload in parse_workloads(documents, accept_assumed=True).workloads
    }
    if list(after) != list(workloads) or any(
        after[workload] != workloads[workload] for workload in set(after) - set(changing)
    ):
        raise InputError(
            "can't be changed in place", where=name, fix="write it without anchors and merge keys"
        )
    return changed


def _write(entry: dict[str, object], measured: Measured, workload: Workload) -> list[str]:
    """Change one entry; returns what to say about it."""
    remarks = list(measured.measurement.notes)
    need = entry.get("need")
    if not isinstance(need, dict):
        need = {}
        _insert(entry, "need", need, after=("pod", "isolation", "tenant", "replicas", "target", "name"))
    earlier = need.get("source") == "measured"
    memory = None if measured.memory_mib is None else format_memory(measured.memory_mib)
    if measured.of_caches:
        entry["preallocates"] = True
    elif workload.preallocates or (measured.suspicion is not None and entry.get("preallocates") is not False):
        memory = None
        if not workload.preallocates and measured.suspicion is not None:
            entry["preallocates"] = True
            remarks.append(measured.suspicion.note)
        else:
            remarks.append(
                "it takes its memory in advance: what it holds is no need, so memory is left to you"
            )
    duty = None if measured.duty_ppm is None else measured.duty_ppm / PPM
    complete = memory is not None and duty is not None
    for key, value in (("memory", memory), ("duty", duty), ("on", measured.on)):
        if value is not None:
            need[key if key in need else _key(key)] = value
        elif earlier and key != "on" and need.pop(key, None) is not None:
            remarks.append(f"the {key} measured earlier was taken out: it is no longer known")
    if complete or earlier or not {"memory", "duty"} & set(need):
        need["source"] = "measured"
    elif memory is not None or duty is not None:
        # One figure is a person's and one is read: the weaker word holds for both.
        need.setdefault("source", "declared")
    need["measurement"] = to_plain(
        _with_notes(measured, [remark for remark in remarks if remark not in measured.measurement.notes])
    )
    return remarks


def _with_notes(measured: Measured, more: list[str]) -> object:
    return msgspec.structs.replace(measured.measurement, notes=(*measured.measurement.notes, *more))


def _key(name: str) -> str:
    """A new key, quoted where a reader of YAML 1.1 would take it for a boolean."""
    from ruamel.yaml.scalarstring import SingleQuotedScalarString

    return SingleQuotedScalarString(name) if name == "on" else name


def _insert(entry: dict[str, object], key: str, value: object, *, after: tuple[str, ...]) -> None:
    place = next((list(entry).index(earlier) + 1 for earlier in after if earlier in entry), len(entry))
    insert = getattr(entry, "insert", None)
    if insert is None:
        entry[key] = value
    else:
        insert(place, key, value)


def _indentation(text: str) -> tuple[int, int]:
    """How the file indents its list of workloads: (spaces to an item's keys, to its dash)."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.rstrip().startswith("workloads:"):
            break
    for line in lines:
        stripped = line.lstrip(" ")
        if stripped.startswith("- "):
            offset = len(line) - len(stripped)
            return offset + 2, offset
    return 2, 0
