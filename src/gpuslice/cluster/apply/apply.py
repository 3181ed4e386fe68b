"""The order of an apply and of a rollback, once, for everybody who does one: the CLI, a controller, tests.

First everything is looked at and tried without a write: `prepare` and `prepare_rollback` end in a value that says what
is about to happen, or in an error that says why it can't. Then that value carries itself out: the journal before the
first step, and step by step from there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from gpuslice.cluster.apply import carry_out, journal, preflight
from gpuslice.cluster.apply.carry_out import Manner
from gpuslice.cluster.apply.journal import Edit
from gpuslice.cluster.apply.steps import steps_of
from gpuslice.cluster.seen.read import read
from gpuslice.errors import AnswerIsNoError

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.cluster.apply.journal import Journal, Stored, Work
    from gpuslice.cluster.apply.steps import Step
    from gpuslice.cluster.apply.waiting import Patience
    from gpuslice.cluster.client.api import Api
    from gpuslice.render.bundle import Bundle, LeftAlone

Stage = Callable[[str], AbstractContextManager[object]]
"""What a stage of the work is done in, given its words: shows them while it lasts."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be done, and what isn't.

    Attributes:
        workloads: whether workloads are moved too.
        exclude: patterns of workloads to leave as they are, such as "shop/*".
        force: whether to take fields that others manage or have changed.
    """

    workloads: bool = False
    exclude: tuple[str, ...] = ()
    force: bool = False

    def excludes(self, namespace: str, name: str) -> bool:
        """Whether a workload is to be left as it is."""
        return any(fnmatchcase(f"{namespace}/{name}", pattern) for pattern in self.exclude)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An apply that was tried at the API server and can be carried out.

    Attributes:
        api: the cluster.
        digest: of what is applied.
        wishes: that it was prepared for.
        steps: each with the object before and after.
        notes: what a person should know before he consents.
        left: workloads that stay as they are.
        previous: the journal of the last apply; None where there never was one.
    """

    api: Api
    digest: str
    wishes: Wishes
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    left: tuple[LeftAlone, ...]
    previous: Stored | None

    @property
    def differences(self) -> tuple[Step, ...]:
        """Steps that change anything."""
        return tuple(step for step in self.steps if step.differs)

    @property
    def moves(self) -> bool:
        """Whether any workload is among the steps."""
        return any(isinstance(step.work, Edit) and step.work.workload for step in self.steps)

    def carry_out(self, patience: Patience, *, wait: bool = True) -> list[str]:
        """Do it: write the journal, then step by step; what stayed although it should have gone, in words.

        Args:
            patience: for each thing that is waited for.
            wait: whether to wait for Karpenter's verdict on its objects.

        Raises:
            AnswerIsNoError: a step isn't possible, or another gpuslice has taken over; what is done stays done, and
                preparing and carrying it out again goes on there.
            RolloutFailedError: a workload's new pods didn't become available; it was put back.
        """
        works = [step.work for step in self.steps]
        stored = carry_out.begin(self.api, works, self.digest, self.previous)
        return carry_out.carry_out(self.api, stored, works, Manner(patience, wait, self.wishes.force))


@dataclass(frozen=True, slots=True)
class PreparedRollback:
    """The last apply, about to be taken back.

    Attributes:
        api: the cluster.
        wishes: of which `exclude` and `force` count.
        stored: the journal of that apply.
    """

    api: Api
    wishes: Wishes
    stored: Stored

    @property
    def journal(self) -> Journal:
        """Of the apply that is taken back: when it began, by whom, and how far it came."""
        return self.stored.journal

    @property
    def works(self) -> tuple[Work, ...]:
        """The steps of that apply that are taken back, in the order in which they are."""
        return tuple(
            work
            for work in reversed(self.journal.steps)
            if not (
                isinstance(work, Edit)
                and work.workload
                and self.wishes.excludes(work.ref.namespace, work.ref.name)
            )
        )

    def carry_out(self, patience: Patience) -> list[str]:
        """Take it back, step by step; what stayed although it should have gone, in words.

        Args:
            patience: for each thing that is waited for.

        Raises:
            AnswerIsNoError: a field was changed by somebody else since, or a step isn't possible; preparing and
                carrying it out again goes on.
        """
        return carry_out.roll_back(
            self.api, self.stored, self.works, Manner(patience, force=self.wishes.force)
        )


def prepare(
    api: Api, desired: Bundle, catalog: Catalog, wishes: Wishes = Wishes(), *, stage: Stage = nullcontext
) -> Prepared:
    """Look at the cluster and try every step at the API server, without keeping any.

    Args:
        api: the cluster.
        desired: what is wanted of it.
        catalog: of its region.
        wishes: what is to be done.
        stage: shows what is waited for.

    Raises:
        AnswerIsNoError: it can't be applied here, or another apply has to be finished first.
        OperatorMissingError: of these, that the GPU Operator isn't installed.
        EnvironmentFailedError: something can't be read, or isn't allowed.
        ApiError: of these, that the API server refuses a step.
    """
    previous = journal.load(api)
    carry_out.resumable(previous, desired.digest)
    with stage("reading the cluster …"):
        snapshot = read(api)
    preflight.readable(snapshot)
    preflight.has_operator(desired, snapshot)
    notes = preflight.check(desired, snapshot, catalog)
    with stage("trying it at the API server …"):
        steps = steps_of(
            api,
            desired,
            snapshot,
            workloads=wishes.workloads,
            force=wishes.force,
            exclude=wishes.excludes,
        )
    preflight.permitted(api, [step.work for step in steps.all])
    return Prepared(api, desired.digest, wishes, steps.all, (*notes, *steps.notes), steps.left, previous)


def prepare_rollback(api: Api, wishes: Wishes = Wishes()) -> PreparedRollback:
    """Look up what the last apply did, and whether it may be taken back.

    Raises:
        AnswerIsNoError: there is nothing to take back.
        EnvironmentFailedError: the journal can't be read, or a step isn't allowed.
    """
    stored = journal.load(api)
    if stored is None or stored.journal.state == "rolled-back":
        raise AnswerIsNoError(
            "there is nothing to take back", fix="an apply that was taken back already stays so"
        )
    prepared = PreparedRollback(api, wishes, stored)
    preflight.permitted(api, prepared.works)
    return prepared
