"""`gpuslice simulate --sweep`: each cell of a grid is a `gpuslice simulate` of its own, in a process of its own.

What a cell came to is kept in a file that is named by all that it depends on. So a sweep that was cut off goes on where
it was, and the same cells come out whatever the number of processes, here or on a Ray cluster.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuslice.cli.console import Output, print_data, print_names, progress_of, say
from gpuslice.cli.replays import Ended, command_of, file_places, here
from gpuslice.cli.shown.simulation import print_sweep
from gpuslice.errors import EnvironmentFailedError, InputError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from gpuslice.cli.replay import Replay
    from gpuslice.simulator.sweep import Cell, Sweep, WhatIf

_JOBS: Final = 2


def run(path: str, common: Replay, jobs: int | None, out: str, output: Output, *, ray: str = "") -> None:
    """Replay all cells of a sweep, and print what they came to.

    Args:
        path: of the sweep.
        common: what all cells have in common.
        jobs: replays at once; None: 2 here, and on a Ray cluster as many as it has CPUs.
        out: where to write the result; "" for nowhere.
        output: what to print.
        ray: address of the Ray cluster to replay on; "" for processes of this machine.

    Raises:
        InputError: the sweep is none, or names what isn't there; or a cell was refused.
        EnvironmentFailedError: a cell failed, or the Ray cluster did.
    """
    from gpuslice.artefacts.documents import dump_json
    from gpuslice.artefacts.output import write_atomically
    from gpuslice.artefacts.part import API_VERSION
    from gpuslice.simulator.sweep import SweepResult, grid

    sweep = _read(path)
    cells = grid(sweep)
    commands = [command_of(_replay(path, common, *cell)) for cell in cells]
    content = _content(commands)
    folder = Path(path).with_suffix(".cells")
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{_key(command, content)}.json" for command in commands]
    missing = [cell for cell in zip(commands, files, strict=True) if not cell[1].exists()]
    if len(missing) < len(cells):
        say(f"{len(cells) - len(missing)} of {len(cells)} replays are in {folder} already")
    with (
        progress_of(f"{len(cells)} replays") as shown,
        closing(_replayed([command for command, _ in missing], jobs, ray)) as ended,
    ):
        shown(len(cells) - len(missing), len(cells))
        for done, (number, cell_result) in enumerate(ended, len(cells) - len(missing) + 1):
            _keep(cell_result, *missing[number])
            shown(done, len(cells))
    result = SweepResult(
        api_version=API_VERSION,
        kind="SweepResult",
        cells=tuple(_cell(*cell, file) for cell, file in zip(cells, files, strict=True)),
    )
    if out:
        write_atomically(out, dump_json(result))
        say(f"written to {out}")
    match output:
        case Output.TABLE:
            print_sweep(sweep, result.cells)
        case Output.NAME:
            print_names(f"{cell.what_if}/{cell.policy}/{cell.seed}" for cell in result.cells)
        case _:
            print_data(result, output)


def _replayed(commands: Sequence[Sequence[str]], jobs: int | None, ray: str) -> Generator[tuple[int, Ended]]:
    """Nothing where there is nothing to do: then no cluster is asked for anything."""
    if not commands:
        return
    if ray:
        from gpuslice.cli.ray_sweep import on_ray

        yield from on_ray(commands, ray, jobs)
    else:
        yield from here(commands, jobs or _JOBS)


def _read(path: str) -> Sweep:
    from gpuslice.artefacts.documents import read_documents
    from gpuslice.artefacts.strict import decode
    from gpuslice.cli.demand import check_policies
    from gpuslice.plan.tutorials import tutorial_name
    from gpuslice.simulator.sweep import MOST_CELLS, Sweep

    if path == "-":
        raise InputError("is read from a file", where="--sweep", fix="name the file")
    document = read_documents(path)[0]
    sweep = decode(document.data, Sweep, where=document.where)
    names = [what_if.name for what_if in sweep.what_ifs]
    policies = [tutorial_name(name) for name in sweep.policies]
    for what, listed in (("what-if", names), ("policy", policies), ("seed", sweep.seeds)):
        if len(set(listed)) < len(listed):
            raise InputError(
                f"names a {what} twice", where=document.where, fix="name each once: they are a grid"
            )
    if listed := [policy for policy in sweep.policies if "," in policy]:
        raise InputError(
            f"{listed[0]!r} is more than one policy", where=document.where, fix="write each on its own"
        )
    check_policies(sweep.policies, f"{document.where}: policies")
    count = len(names) * len(sweep.policies) * len(sweep.seeds)
    if count > MOST_CELLS:
        raise InputError(f"is {count:,} replays", where=document.where, fix=f"{MOST_CELLS:,} at most")
    for case in sweep.what_ifs:
        if case.prices and not _beside(path, case.prices).is_file():
            raise InputError(
                f"{case.prices[:60]!r} is no file", where=f"{document.where}: {case.name}", fix="name prices"
            )
    return sweep


def _beside(path: str, name: str) -> Path:
    return Path(path).parent / name


def _replay(path: str, common: Replay, what_if: WhatIf, policy: str, seed: int) -> Replay:
    """A cell of the grid."""
    return replace(
        common,
        policies=policy,
        seed=seed,
        allow=",".join(what_if.allow),
        isolation=what_if.isolation,
        prices=str(_beside(path, what_if.prices)) if what_if.prices else "",
        spot_interruptions=what_if.spot_interruptions,
    )


def _key(command: Sequence[str], content: str) -> str:
    from gpuslice import __version__

    return hashlib.sha256(json.dumps([__version__, content, *command]).encode()).hexdigest()[:20]


def _content(commands: Sequence[Sequence[str]]) -> str:
    """A digest of all files that the cells read, in the order in which they are named first."""
    named = [command[place] for command in commands for place in file_places(command)]
    whole = hashlib.sha256()
    for name in dict.fromkeys(named):
        if name == "-":
            raise InputError("each replay of a sweep reads its files", where="-f -", fix="name a file")
        try:
            whole.update(hashlib.sha256(Path(name).read_bytes()).digest())
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise InputError(f"can't be read: {why.lower()}", where=name, fix="name a file") from None
    return whole.hexdigest()


def _keep(ended: Ended, command: Sequence[str], file: Path) -> None:
    """One cell, whole or not at all."""
    from gpuslice.artefacts.output import write_atomically

    if ended.code:
        words = ended.err.strip().removeprefix("error: ").splitlines() or ["no word of why"]
        kind = InputError if ended.code in {1, 2} else EnvironmentFailedError
        raise kind(words[0], where=" ".join(command[-4:]), fix=" ".join(words[1:]))
    write_atomically(str(file), ended.out)


def _cell(what_if: WhatIf, policy: str, seed: int, file: Path) -> Cell:
    from gpuslice.artefacts.documents import read_documents
    from gpuslice.artefacts.strict import decode
    from gpuslice.simulator.result import Simulation
    from gpuslice.simulator.sweep import Cell

    document = read_documents(str(file))[0]
    (outcome,) = decode(document.data, Simulation, where=document.where).outcomes
    return Cell(what_if.name, policy, seed, outcome)
