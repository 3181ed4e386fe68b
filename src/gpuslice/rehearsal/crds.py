"""Custom resource definitions: the real ones of Karpenter, its AWS provider and Node Feature Discovery, and stand-ins.

The GPU Operator's ClusterPolicy can't be had from a Go module. A file with the real one may be given; where it isn't,
a small one with the fields that gpuslice touches stands in.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from gpuslice.errors import EnvironmentFailedError, InputError

if TYPE_CHECKING:
    from lightkube import Client

STAND_INS: Final = (Path(__file__).parent / "data" / "clusterpolicy-stand-in.yaml",)


def install(client: Client, real: Iterable[Path], others: Iterable[Path]) -> None:
    """Create definitions and wait until the API server serves them.

    Args:
        client: of an administrator.
        real: files with definitions.
        others: more of them; of two with one name the first counts.

    Raises:
        InputError: a file that can't be read or holds something else.
        EnvironmentFailedError: the API server refuses one, or doesn't serve it.
    """
    from lightkube import ApiError

    from gpuslice.rehearsal.kinds import CustomResourceDefinition

    definitions: dict[str, dict[str, object]] = {}
    for path in (*real, *others):
        for name, definition in _definitions(path):
            definitions.setdefault(name, definition)
    try:
        for definition in definitions.values():
            client.create(CustomResourceDefinition.from_dict(definition))
        for name in definitions:
            client.wait(CustomResourceDefinition, name, for_conditions=["Established"])
    except ApiError as error:
        raise EnvironmentFailedError(str(error), where="CustomResourceDefinition") from None


def _definitions(path: Path) -> Iterable[tuple[str, dict[str, object]]]:
    try:
        documents = list(yaml.load_all(path.read_bytes(), Loader=yaml.CSafeLoader))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"can't be read: {error}", where=str(path)) from None
    for document in documents:
        if not isinstance(document, dict) or document.get("kind") != "CustomResourceDefinition":
            raise InputError("holds something else than CustomResourceDefinitions", where=str(path))
        yield document["metadata"]["name"], document
