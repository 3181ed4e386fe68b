"""Names of slices, such as "L4/time-slicing/4", as plans and people write them.

A profile of a service says by such a name where it was measured, an assignment where its pods go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.quoting import quoted
from gpuslice.errors import InputError, nearest
from gpuslice.hardware.cut import most_slots
from gpuslice.hardware.gpus import gpu_named
from gpuslice.hardware.mechanisms import Mechanism

if TYPE_CHECKING:
    from gpuslice.hardware.gpus import Gpu

_SLICE: Final = re.compile(r"(?P<gpu>[^/]+)/(?P<mechanism>[^/]+)(?:/(?P<part>[^/]+))?")
_PART: Final = {
    Mechanism.TIME_SLICING: re.compile(r"[2-9]|[1-4][0-9]"),
    Mechanism.MPS: re.compile(r"[2-9]|[1-4][0-9]"),
    Mechanism.FRACTIONAL: re.compile(r"1-[2-9]"),
}


METERED: Final = "metered"
"""The part of a time-sliced GPU whose memory and time are counted: its slices have no size of their own."""
_FIX: Final = (
    'write it as "L4/whole", "L4/time-slicing/4", "L4/mps/4", "A100-80GB/mig/1g.10gb" or "L4/fractional/1-8"'
)


@dataclass(frozen=True, slots=True)
class SliceName:
    """A slice's name, taken apart.

    Attributes:
        gpu: the model.
        mechanism: how it is cut.
        part: of the GPU, as written: slots, "metered", a MIG profile, a fraction such as "1-8"; empty for a whole GPU.
    """

    gpu: Gpu
    mechanism: Mechanism
    part: str

    def __str__(self) -> str:
        """The name that a slice has in artefacts: "H100/mig/1g.10gb", "L4/whole"."""
        return "/".join(filter(None, (self.gpu.name, self.mechanism.value, self.part)))

    @property
    def share(self) -> Fraction:
        """The part of the GPU that it is: of MIG its share of the memory slices; of a metered GPU all."""
        match self.mechanism:
            case Mechanism.TIME_SLICING | Mechanism.MPS if self.part != METERED:
                return Fraction(1, int(self.part))
            case Mechanism.FRACTIONAL:
                numerator, _, denominator = self.part.partition("-")
                return Fraction(int(numerator), int(denominator))
            case Mechanism.MIG if (
                self.gpu.mig is not None and (profile := self.gpu.mig.profile(self.part)) is not None
            ):
                return Fraction(profile.memory_slices, self.gpu.mig.grid)
            case _:
                return Fraction(1)


def slice_name(text: str) -> str:
    """The name of a slice of a fixed size (see `Slice.name`), its GPU by our name for it.

    Raises:
        InputError: the GPU, or such a part of it, doesn't exist, or has no size of its own.
    """
    parsed = parse_slice(text)
    if parsed.part == METERED:
        fix = "write L4/time-slicing/4 if four replicas were measured side by side"
        raise InputError(f"{quoted(text)} is no slice of a fixed size that could be measured", fix=fix)
    return str(parsed)


def parse_slice(text: str) -> SliceName:
    """A slice's name, taken apart.

    Raises:
        InputError: the GPU, or such a part of it, doesn't exist.
    """
    match = _SLICE.fullmatch(text)
    if match is None:
        raise InputError(f"{quoted(text)} is no slice", fix=_FIX)
    gpu = gpu_named(match["gpu"])
    known = [str(mechanism.value) for mechanism in Mechanism]
    if match["mechanism"] not in known:
        hint = nearest(match["mechanism"], known) or f"known: {', '.join(known)}"
        raise InputError(f"{quoted(match['mechanism'])} is no way to cut a GPU", fix=hint)
    mechanism = Mechanism(match["mechanism"])
    part = match["part"] or ""
    if mechanism not in {*gpu.mechanisms, Mechanism.MIG}:
        can = ", ".join(sorted(one.value for one in gpu.mechanisms))
        raise InputError(f"{gpu.name} has no {mechanism.value}", fix=f"it has {can}")
    match mechanism:
        case Mechanism.WHOLE:
            right = not part
        case Mechanism.MIG:
            profiles = [profile.name for profile in gpu.mig.profiles] if gpu.mig is not None else []
            if part not in profiles:
                offers = f"it has {', '.join(profiles)}" if profiles else "it has no MIG at all"
                raise InputError(f"{gpu.name} has no MIG profile {quoted(part)}", fix=offers)
            right = True
        case Mechanism.TIME_SLICING if part == METERED:
            right = True
        case _:
            right = _PART[mechanism].fullmatch(part) is not None
            if right and mechanism is not Mechanism.FRACTIONAL and int(part) > most_slots(gpu, mechanism):
                most = most_slots(gpu, mechanism)
                raise InputError(
                    f"{gpu.name} has at most {most} slots by {mechanism.value}", fix=f"choose 2 to {most}"
                )
    if not right:
        raise InputError(f"{quoted(text)} is no slice", fix=_FIX)
    return SliceName(gpu, mechanism, part)
