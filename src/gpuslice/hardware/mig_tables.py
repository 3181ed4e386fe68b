"""The MIG profiles of each GPU model: NVML's figures, and where they come from.

Placements, counts and slices: NVML on H100 and H200, and the NVIDIA MIG User Guide. Memory is what NVML gives for
an instance, always a multiple of 128 MiB; the "gb" in a profile's name is not it. Where published readings of one
profile differ between drivers, one from EC2 is taken if there is any, else the smallest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from gpuslice.hardware.facts import Confidence
from gpuslice.hardware.mig_profiles import MigProfile, MigTable


class _Seven(NamedTuple):
    """One figure for each profile of a GPU with seven compute slices."""

    one: int
    double: int  # 1g with twice the memory
    two: int
    three: int
    four: int
    seven: int


class _Engines(NamedTuple):
    """Engines of each profile of a GPU with seven compute slices."""

    copy: _Seven
    decoders: _Seven
    jpeg: _Seven


def _seven_slices(
    gigabytes: _Seven, memory_mib: _Seven, sms: _Seven, engines: _Engines, confidence: Confidence
) -> MigTable:
    """A GPU with seven compute slices on a grid of eight memory slices: A100, H100, H200, B200, B300.

    Args:
        gigabytes: as in the profiles' names.
        memory_mib: usable MiB of each.
        sms: multiprocessors of each.
        engines: copy engines, decoders and JPEG engines of each.
        confidence: of memory and SMs.
    """

    def profile(index: int, compute: int, memory: int, starts: tuple[int, ...]) -> MigProfile:
        return MigProfile(
            name=f"{compute}g.{gigabytes[index]}gb",
            compute_slices=compute,
            memory_slices=memory,
            starts=starts,
            most=len(starts),
            memory_mib=memory_mib[index],
            sms=sms[index],
            confidence=confidence,
            copy_engines=engines.copy[index],
            decoders=engines.decoders[index],
            jpeg_engines=engines.jpeg[index],
            ofa_engines=1 if compute == 7 else 0,
        )

    plain = (
        profile(5, 7, 8, (0,)),
        profile(4, 4, 4, (0,)),
        profile(3, 3, 4, (0, 4)),
        profile(2, 2, 2, (0, 2, 4)),
        profile(1, 1, 2, (0, 2, 4, 6)),
        profile(0, 1, 1, (0, 1, 2, 3, 4, 5, 6)),
    )
    media = MigProfile(
        name=f"1g.{gigabytes.one}gb+me",
        compute_slices=1,
        memory_slices=1,
        starts=(0, 1, 2, 3, 4, 5, 6),
        most=1,
        memory_mib=memory_mib.one,
        sms=sms.one,
        confidence=confidence,
        copy_engines=engines.copy.one,
        decoders=1,
        jpeg_engines=1,
        ofa_engines=1,
        media_extensions=True,
    )
    return MigTable(grid=8, compute_slices=7, profiles=(*plain, media))


# A100: 14 SMs for each compute slice, 98 of the card's 108. Published `nvidia-smi mig -lgip` listings of both cards.
_A100_SMS: Final = _Seven(14, 14, 28, 42, 56, 98)
_A100_ENGINES: Final = _Engines(
    copy=_Seven(1, 1, 2, 3, 4, 7), decoders=_Seven(0, 1, 1, 2, 2, 5), jpeg=_Seven(0, 0, 0, 0, 0, 1)
)
A100_40GB: Final = _seven_slices(
    _Seven(5, 10, 10, 20, 20, 40),
    _Seven(4864, 9856, 9856, 19968, 19968, 40192),
    _A100_SMS,
    _A100_ENGINES,
    Confidence.PUBLISHED,
)
A100_80GB: Final = _seven_slices(
    _Seven(10, 20, 20, 40, 40, 80),
    _Seven(9728, 19968, 19968, 40192, 40192, 80384),
    _A100_SMS,
    _A100_ENGINES,
    Confidence.PUBLISHED,
)

# Read by NVML, driver 580.159.04.
_HOPPER_SMS: Final = _Seven(16, 26, 32, 60, 64, 132)
_HOPPER_ENGINES: Final = _Engines(
    copy=_Seven(1, 1, 2, 3, 4, 8), decoders=_Seven(1, 1, 2, 3, 4, 7), jpeg=_Seven(1, 1, 2, 3, 4, 7)
)
H100: Final = _seven_slices(
    _Seven(10, 20, 20, 40, 40, 80),
    _Seven(9984, 20096, 20096, 40448, 40448, 81152),
    _HOPPER_SMS,
    _HOPPER_ENGINES,
    Confidence.READ,
)
H200: Final = _seven_slices(
    _Seven(18, 35, 35, 71, 71, 141),
    _Seven(16384, 33280, 33280, 71424, 71424, 143360),
    _HOPPER_SMS,
    _HOPPER_ENGINES,
    Confidence.READ,
)

# B200: 20.5 and 44.25 GiB, 18, 30 and 36 SMs from a published listing (mig-parted's pull request 187). The larger
# profiles aren't in the part of it that we have: their SMs are those of their compute slices, which H100's 3g
# exceeds, so these are low rather than high; their memory is by the published 89 GB of a 3g.
_B200_SMS: Final = _Seven(18, 30, 36, 54, 72, 148)
_B200_MEMORY: Final = _Seven(20992, 45312, 45312, 91136, 91136, 182272)
_B200_ENGINES: Final = _HOPPER_ENGINES._replace(copy=_Seven(2, 2, 3, 6, 8, 16))
B200: Final = _seven_slices(
    _Seven(23, 45, 45, 90, 90, 180), _B200_MEMORY, _B200_SMS, _B200_ENGINES, Confidence.INFERRED
)

# B300: names from NVIDIA's default mig-parted configuration; 18 SMs in a 1g as published; memory is B200's times
# 3/2, which is the ratio of the two cards' usable memory; the rest is B200's.
B300: Final = _seven_slices(
    _Seven(34, 67, 67, 135, 135, 269),
    _Seven(*(mib * 3 // 2 for mib in _B200_MEMORY)),
    _B200_SMS,
    _B200_ENGINES,
    Confidence.INFERRED,
)


def _even(
    name: str,
    *,
    slices: int,
    of: MigTable,
    memory_mib: int,
    sms: int,
    confidence: Confidence,
    media: tuple[int, int, int],
    ofa_engines: int = 0,
) -> MigProfile:
    """A profile of a GPU that is cut evenly, as the RTX PRO ones are: memory and compute by the same share.

    Args:
        name: as NVIDIA writes it; "+me" makes it a profile with media extensions.
        slices: compute slices.
        of: the table that it is for, as yet without profiles.
        memory_mib: usable MiB.
        sms: multiprocessors.
        confidence: of memory and SMs.
        media: decoders, encoders, JPEG engines.
        ofa_engines: optical-flow engines.
    """
    memory_slices = of.grid * slices // of.compute_slices
    starts = tuple(range(0, of.grid, memory_slices))
    extensions = name.endswith("+me")
    decoders, encoders, jpeg_engines = media
    return MigProfile(
        name=name,
        compute_slices=slices,
        memory_slices=memory_slices,
        starts=starts,
        most=1 if extensions else len(starts),
        memory_mib=memory_mib,
        sms=sms,
        confidence=confidence,
        copy_engines=slices,
        decoders=decoders,
        encoders=encoders,
        jpeg_engines=jpeg_engines,
        ofa_engines=ofa_engines,
        media_extensions=extensions,
    )


# RTX PRO 6000 Server Edition: published `nvidia-smi mig -lgip` listings, Bottlerocket's on EC2 among them: 23.62,
# 47.38 and 95.00 GiB (other hosts' older drivers show 23.12, 46.50 and 93.38). The forms +gfx, +me.all and -me
# aren't here: the first is for graphics, the others only move media engines about.
_RTX_PRO_6000: Final = MigTable(grid=12, compute_slices=4, profiles=())
RTX_PRO_6000: Final = replace(
    _RTX_PRO_6000,
    profiles=tuple(
        _even(
            name,
            slices=slices,
            of=_RTX_PRO_6000,
            memory_mib=memory_mib,
            sms=sms,
            confidence=Confidence.PUBLISHED,
            media=(slices, slices, slices),
            ofa_engines=ofa_engines,
        )
        for name, slices, memory_mib, sms, ofa_engines in (
            ("4g.96gb", 4, 97280, 188, 1),
            ("2g.48gb", 2, 48512, 94, 0),
            ("1g.24gb", 1, 24192, 46, 0),
            ("1g.24gb+me", 1, 24192, 46, 1),
        )
    ),
)

# RTX PRO 4500: the MIG User Guide (release 610) has the profiles as halves of the card, and published work on g7
# uses two of 1g.16gb. Its grid isn't published: two halves are all that the profiles need. Memory and SMs are the
# card's, less what RTX PRO 6000 loses by MIG, rounded down.
_RTX_PRO_4500: Final = MigTable(grid=2, compute_slices=2, profiles=())
RTX_PRO_4500: Final = replace(
    _RTX_PRO_4500,
    profiles=(
        _even(
            "2g.32gb",
            slices=2,
            of=_RTX_PRO_4500,
            memory_mib=31744,
            sms=82,
            confidence=Confidence.INFERRED,
            media=(3, 3, 2),
            ofa_engines=1,
        ),
        _even(
            "1g.16gb",
            slices=1,
            of=_RTX_PRO_4500,
            memory_mib=15744,
            sms=40,
            confidence=Confidence.INFERRED,
            media=(1, 1, 1),
        ),
    ),
)
