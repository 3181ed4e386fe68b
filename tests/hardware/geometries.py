"""All ways to cut a GPU by MIG, from those to which nothing can be added."""

from functools import lru_cache
from itertools import product

from gpuslice.hardware.mig import Geometry, maximal_geometries
from gpuslice.hardware.mig_profiles import MigTable


@lru_cache(maxsize=64)
def valid_geometries(table: MigTable) -> tuple[Geometry, ...]:
    """The maximal geometries and whatever is left of them when instances are taken away; the empty one excluded."""
    valid: dict[Geometry, None] = {}
    for geometry in maximal_geometries(table):
        names = [name for name, _ in geometry]
        for counts in product(*(range(count + 1) for _, count in geometry)):
            if any(counts):
                valid[Geometry.of(dict(zip(names, counts, strict=True)))] = None
    return tuple(valid)
