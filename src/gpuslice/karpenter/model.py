"""What the model decides on: pods, pools, instance types, nodes. Plain data, in one set of units throughout.

Quantities are integers: CPU in milli-CPU, prices in micro-dollars an hour, everything else in whatever unit the caller
uses throughout (MiB of memory, numbers of slices). Times are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gpuslice.karpenter.requirements import (
    CAPACITY_TYPE,
    HOSTNAME,
    INSTANCE_TYPE,
    ZONE,
    Requirement,
    among,
    combined,
    labelled,
)

CPU: Final = "cpu"
MEMORY: Final = "memory"
PODS: Final = "pods"
NODES: Final = "nodes"
"""In a NodePool's limits: how many nodes it may have."""

Resources = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Taint:
    """A node's taint: effect NoSchedule, NoExecute or PreferNoSchedule."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


@dataclass(frozen=True, slots=True)
class Toleration:
    """A pod's toleration: operator Equal or Exists; an empty key or effect stands for all."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""

    def tolerates(self, taint: Taint) -> bool:
        """Whether it accepts the taint."""
        return (
            self.effect in {"", taint.effect}
            and self.key in {"", taint.key}
            and (self.operator == "Exists" or self.value == taint.value)
        )


class Unsatisfiable(StrEnum):
    """What a topology spread does where it can't be kept."""

    REFUSE = "DoNotSchedule"
    IGNORE = "ScheduleAnyway"


@dataclass(frozen=True, slots=True)
class Spread:
    """A topology spread constraint. `selector` are labels that the counted pods have."""

    key: str
    max_skew: int
    selector: tuple[tuple[str, str], ...]
    unsatisfiable: Unsatisfiable = Unsatisfiable.REFUSE
    min_domains: int | None = None


@dataclass(frozen=True, slots=True)
class PodTerm:
    """A term of pod affinity or anti-affinity: pods with these labels, of the pod's own namespace."""

    key: str
    selector: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Preferred:
    """Node requirements that a pod would like to be met."""

    weight: int
    requirements: tuple[Requirement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PodClass:
    """Pods that are equal in everything that a scheduler looks at. Two objects are two classes.

    Attributes:
        name: of what they are replicas of.
        requests: of a whole pod; `pods` is not among them.
        selector: node selector.
        affinity: terms of required node affinity, of which one must hold.
        preferred: terms of preferred node affinity.
        tolerations: of taints.
        labels, namespace: by which spreads and pod affinities count it.
        spreads: topology spread constraints.
        near, apart: required pod affinity and anti-affinity.
        priority: of its PriorityClass.
        deletion_cost: `controller.kubernetes.io/pod-deletion-cost`.
        do_not_disrupt: whether it has `karpenter.sh/do-not-disrupt`.
        unavailable: how many of its pods a PodDisruptionBudget lets be down at once; None where it has none.
    """

    name: str
    requests: Resources
    selector: Mapping[str, str] = field(default_factory=dict)
    affinity: tuple[tuple[Requirement, ...], ...] = ()
    preferred: tuple[Preferred, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "default"
    spreads: tuple[Spread, ...] = ()
    near: tuple[PodTerm, ...] = ()
    apart: tuple[PodTerm, ...] = ()
    priority: int = 0
    deletion_cost: int = 0
    do_not_disrupt: bool = False
    unavailable: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Pod:
    """One pod: its class, the second in which it was created, and its UID, by which equal pods are ordered."""

    kind: PodClass
    created: int
    uid: str


@dataclass(frozen=True, slots=True)
class Offering:
    """A way to buy an instance type. `available` is False while EC2 is known to be out of it."""

    capacity_type: str
    zone: str
    price: int
    available: bool = True

    def requirements(self) -> dict[str, Requirement]:
        """What a node bought this way is."""
        return {CAPACITY_TYPE: among(CAPACITY_TYPE, self.capacity_type), ZONE: among(ZONE, self.zone)}


@dataclass(frozen=True, slots=True, eq=False)
class InstanceType:
    """An instance type as Karpenter sees it, before overlays.

    Attributes:
        name: as EC2 writes it.
        capacity: of the machine.
        overhead: what of that Kubernetes and the system keep.
        labels: requirements by which pools and pods choose it; its name, zones and capacity types are added.
        offerings: all there are.
    """

    name: str
    capacity: Resources
    overhead: Resources
    offerings: tuple[Offering, ...]
    labels: tuple[Requirement, ...] = ()

    def allocatable(self) -> dict[str, int]:
        """What pods can ask for, daemonsets included."""
        return {key: value - self.overhead.get(key, 0) for key, value in self.capacity.items()}

    def requirements(self) -> dict[str, Requirement]:
        """All by which it can be chosen."""
        return combined(
            self.labels,
            (
                among(INSTANCE_TYPE, self.name),
                among(ZONE, *(offering.zone for offering in self.offerings)),
                among(CAPACITY_TYPE, *(offering.capacity_type for offering in self.offerings)),
            ),
        )


@dataclass(frozen=True, slots=True)
class Overlay:
    """A NodeOverlay.

    Attributes:
        name: of the object.
        requirements: of the instance types that it is for.
        capacity: resources that it sets, in absolute numbers.
        price: micro-dollars an hour that it sets.
        adjustment: a change of the price, as Karpenter writes it: "+5", "-0.5", "+10%", "-15%".
        weight: the higher is applied first, and what is set stays.
    """

    name: str
    requirements: tuple[Requirement, ...] = ()
    capacity: Resources = field(default_factory=dict)
    price: int | None = None
    adjustment: str = ""
    weight: int = 0


class Policy(StrEnum):
    """When a NodePool's nodes may be consolidated."""

    WHEN_EMPTY = "WhenEmpty"
    WHEN_EMPTY_OR_UNDERUTILIZED = "WhenEmptyOrUnderutilized"


class Reason(StrEnum):
    """Why Karpenter takes nodes away; budgets may name one."""

    EMPTY = "Empty"
    UNDERUTILIZED = "Underutilized"


@dataclass(frozen=True, slots=True)
class Budget:
    """A disruption budget without a schedule.

    Attributes:
        nodes: a number ("3") or a share ("10%") of the pool's nodes that may be going at once.
        reasons: for which it holds; empty: for all.
    """

    nodes: str = "10%"
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class NodePool:
    """A NodePool, with the instance types that its node class offers.

    Attributes:
        name: of the object.
        instance_types: all that the cloud has; requirements choose among them.
        weight: the higher is tried first.
        requirements: of its template, minValues included.
        labels: of its template.
        taints: of its template; startup taints don't matter for placing pods.
        limits: most of each resource that its nodes may have together; `NODES` counts nodes.
        policy, consolidate_after, budgets: consolidate_after None is "Never".
    """

    name: str
    instance_types: tuple[InstanceType, ...]
    weight: int = 0
    requirements: tuple[Requirement, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    limits: Resources = field(default_factory=dict)
    policy: Policy = Policy.WHEN_EMPTY_OR_UNDERUTILIZED
    consolidate_after: float | None = 0
    budgets: tuple[Budget, ...] = (Budget(),)


@dataclass(slots=True, eq=False)
class Node:
    """A node, or a NodeClaim whose node isn't there yet.

    Attributes:
        name: of the node; of the NodeClaim until the node has registered.
        pool: name of its NodePool; empty for a node that isn't Karpenter's.
        labels: of the node: one value each.
        taints: that stay.
        capacity, allocatable: as the node reports them once initialized, as the instance type promises until then.
        instance_type, capacity_type, zone, price: what it is and costs an hour.
        daemons: what daemonsets will still take of it.
        pods: bound to it.
        initialized: whether Karpenter counts it as ready.
        created, initialized_at, last_pod_event: seconds; None: not yet.
        nominated_until: until when Karpenter keeps it for pods that it has promised it.
        do_not_disrupt: whether the node has that annotation.
        deleting: whether it is on its way out.
    """

    name: str
    pool: str
    labels: dict[str, str]
    capacity: dict[str, int]
    allocatable: dict[str, int]
    instance_type: str = ""
    capacity_type: str = "on-demand"
    zone: str = ""
    price: int = 0
    taints: tuple[Taint, ...] = ()
    daemons: dict[str, int] = field(default_factory=dict)
    pods: list[Pod] = field(default_factory=list)
    initialized: bool = True
    created: float = 0
    initialized_at: float | None = 0
    last_pod_event: float | None = None
    nominated_until: float = 0
    do_not_disrupt: bool = False
    deleting: bool = False

    def free(self) -> dict[str, int]:
        """What pods can still ask for, the number of pods included."""
        left = dict(self.allocatable)
        for key, value in self.daemons.items():
            left[key] = left.get(key, 0) - value
        for pod in self.pods:
            for key, value in pod.kind.requests.items():
                left[key] = left.get(key, 0) - value
        left[PODS] = left.get(PODS, 0) - len(self.pods)
        return left


def hostname(node: Node) -> str:
    """The name by which pods know a node."""
    return node.labels.get(HOSTNAME, node.name)


def labels_of(node: Node) -> dict[str, Requirement]:
    """A node's labels, its name among them."""
    return labelled({**node.labels, HOSTNAME: hostname(node)})


class MinValues(StrEnum):
    """Karpenter's setting MIN_VALUES_POLICY."""

    STRICT = "Strict"
    BEST_EFFORT = "BestEffort"


class Preferences(StrEnum):
    """Karpenter's setting PREFERENCE_POLICY."""

    RESPECT = "Respect"
    IGNORE = "Ignore"


@dataclass(frozen=True, slots=True)
class Settings:
    """Karpenter's settings that matter here, at their defaults.

    Attributes:
        batch_idle, batch_max: seconds without a new pod that end a batch, and the longest batch.
        min_values, preferences: policies.
        launch_types: most instance types that a launch may name to EC2 (AWS provider, maxInstanceTypes).
        spot_to_spot: the feature gate SpotToSpotConsolidation.
        exact_ties: order NodeClaims with equally many pods as Go's sort leaves them. False keeps them in the order
            in which they were opened: pools that share no pods then don't influence each other.
        seed: of choices that Karpenter makes differently on each run: between equal domains of a topology.
    """

    batch_idle: float = 1
    batch_max: float = 10
    min_values: MinValues = MinValues.STRICT
    preferences: Preferences = Preferences.RESPECT
    launch_types: int = 60
    spot_to_spot: bool = False
    exact_ties: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Launch:
    """The machine that EC2 is expected to give.

    Attributes:
        instance_type, capacity_type, zone: of it.
        price: micro-dollars an hour.
        named: the types that EC2 may choose from, cheapest first.
    """

    instance_type: InstanceType
    capacity_type: str
    zone: str
    price: int
    named: tuple[str, ...]
