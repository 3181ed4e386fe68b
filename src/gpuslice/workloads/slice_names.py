"""Names of slices as people write them: the one thing that a profile of a service says about where it was measured."""

from __future__ import annotations

import re
from typing import Final

from gpuslice.artefacts.quoting import quoted
from gpuslice.errors import InputError, nearest
from gpuslice.hardware.cut import most_slots
from gpuslice.hardware.gpus import gpu_named
from gpuslice.hardware.mechanisms import Mechanism

_SLICE: Final = re.compile(r"(?P<gpu>[^/]+)/(?P<mechanism>[^/]+)(?:/(?P<part>[^/]+))?")
_PART: Final = {
    Mechanism.TIME_SLICING: re.compile(r"[2-9]|[1-4][0-9]"),
    Mechanism.MPS: re.compile(r"[2-9]|[1-4][0-9]"),
    Mechanism.FRACTIONAL: re.compile(r"1-[2-9]"),
}


def slice_name(text: str) -> str:
    """The name of a slice (see `Slice.name`), its GPU by our name for it.

    Raises:
        InputError: the GPU, or such a part of it, doesn't exist, or has no size of its own.
    """
    fix = 'write it as "L4/whole", "L4/time-slicing/4", "L4/mps/4", "A100-80GB/mig/1g.10gb" or "L4/fractional/1-8"'
    found = _SLICE.fullmatch(text)
    if found is None:
        raise InputError(f"{quoted(text)} is no slice", fix=fix)
    gpu = gpu_named(found["gpu"])
    known = [str(each.value) for each in Mechanism]
    if found["mechanism"] not in known:
        hint = nearest(found["mechanism"], known) or f"known: {', '.join(known)}"
        raise InputError(f"{quoted(found['mechanism'])} is no way to cut a GPU", fix=hint)
    mechanism = Mechanism(found["mechanism"])
    part = found["part"] or ""
    if mechanism not in {*gpu.mechanisms, Mechanism.MIG}:
        can = ", ".join(sorted(each.value for each in gpu.mechanisms))
        raise InputError(f"{gpu.name} has no {mechanism.value}", fix=f"it has {can}")
    if (mechanism, part) == (Mechanism.TIME_SLICING, "metered"):
        fix = "write L4/time-slicing/4 if four replicas were measured side by side"
        raise InputError(f"{quoted(text)} is no slice of a fixed size that could be measured", fix=fix)
    match mechanism:
        case Mechanism.WHOLE:
            right = not part
        case Mechanism.MIG:
            profiles = [each.name for each in gpu.mig.profiles] if gpu.mig is not None else []
            if part not in profiles:
                offers = f"it has {', '.join(profiles)}" if profiles else "it has no MIG at all"
                raise InputError(f"{gpu.name} has no MIG profile {quoted(part)}", fix=offers)
            right = True
        case _:
            right = _PART[mechanism].fullmatch(part) is not None
            if right and mechanism is not Mechanism.FRACTIONAL and int(part) > most_slots(gpu, mechanism):
                most = most_slots(gpu, mechanism)
                raise InputError(
                    f"{gpu.name} has at most {most} slots by {mechanism.value}", fix=f"choose 2 to {most}"
                )
    if not right:
        raise InputError(f"{quoted(text)} is no slice", fix=fix)
    return "/".join(each for each in (gpu.name, mechanism.value, part) if each)
