"""What a pod requires of its node's labels, and what of that a new pool can have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.workloads.requirements import (
    Requirement,
    entered,
    leaves_with_today,
    met,
    own_label,
    pins_of,
    without_keys,
)

TYPE = "node.kubernetes.io/instance-type"
ZONE = "topology.kubernetes.io/zone"
FACTS = {
    TYPE: "g5.xlarge",
    "karpenter.k8s.aws/instance-cpu": "4",
    "karpenter.k8s.aws/instance-local-nvme": None,
}


def needs(key, operator="In", *values):
    return Requirement(key, operator, values)


@pytest.mark.parametrize(
    ("operator", "values", "here", "absent"),
    [
        ("In", ("4", "8"), True, False),
        ("In", ("8",), False, False),
        ("In", (), False, False),
        ("NotIn", ("4",), False, True),
        ("NotIn", ("8",), True, True),
        ("Exists", (), True, False),
        ("DoesNotExist", (), False, True),
        ("Gt", ("3",), True, False),
        ("Gt", ("4",), False, False),
        ("Lt", ("5",), True, False),
        ("Lt", ("4",), False, False),
        ("Gt", ("many",), False, False),
        ("Gt", (), False, False),
    ],
)
def test_operators_hold_as_kubernetes_has_them(operator, values, here, absent):
    requirement = Requirement("k", operator, values)
    assert (requirement.holds("4"), requirement.holds(None)) == (here, absent)


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        (needs(TYPE, "In", "g5.xlarge"), True),
        (needs("karpenter.k8s.aws/instance-cpu", "Gt", "4"), False),
        (needs("karpenter.k8s.aws/instance-local-nvme", "DoesNotExist"), True),
        # Of the machine, and not known: neither answer may be believed.
        (needs("karpenter.k8s.aws/instance-network-bandwidth", "Gt", "1"), False),
        (needs("karpenter.k8s.aws/instance-network-bandwidth", "NotIn", "1"), False),
        # A node that is there has another name, whatever it will be.
        (needs("kubernetes.io/hostname", "In", "n1"), False),
        (needs("kubernetes.io/hostname", "NotIn", "n1"), True),
        (needs("kubernetes.io/hostname", "Exists"), True),
        (needs("metadata.name", "In", "n1"), False),
        # Its patch takes these out.
        (needs("nvidia.com/gpu.family", "In", "ampere"), True),
        (needs("karpenter.sh/nodepool", "In", "gpu"), True),
        # Labels that Karpenter puts on no node.
        (needs("node-role.kubernetes.io/gpu", "Exists"), False),
        (needs("node-role.kubernetes.io/gpu", "DoesNotExist"), True),
        # What the pool is bound to.
        (needs("team", "In", "vision", "speech"), True),
        (needs("team", "NotIn", "vision"), False),
        (needs("rack", "In", "r1"), False),
        (needs("rack", "DoesNotExist"), True),
        (needs(ZONE, "In", "us-east-1a"), True),
        (needs(ZONE, "In", "us-east-1b"), False),
        (needs(ZONE, "In", "us-east-1a", "us-east-1b"), False),
    ],
)
def test_what_a_node_of_a_pool_meets(requirement, holds):
    pins = (needs("team", "In", "vision"), needs(ZONE, "In", "us-east-1a"))
    assert met(requirement, FACTS, pins) is holds
    assert entered(((requirement,),), FACTS, pins) is holds


def test_one_term_of_several_is_enough_and_none_asks_for_nothing():
    no, yes = needs(TYPE, "In", "g6.xlarge"), needs(TYPE, "In", "g5.xlarge")
    assert entered((), FACTS, ())
    assert entered(((no,), (yes,)), FACTS, ())
    assert not entered(((no,), (yes, no)), FACTS, ())


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("team-pool", True),
        ("provisioner", True),
        ("example.com/pool", True),
        ("node.kubernetes.io/purpose", True),
        ("node-restriction.kubernetes.io/team", True),
        (TYPE, False),
        (ZONE, False),
        ("kubernetes.io/hostname", False),
        ("node-role.kubernetes.io/gpu", False),
        ("karpenter.sh/capacity-type", False),
        ("karpenter.k8s.aws/instance-cpu", False),
        ("nvidia.com/gpu.present", False),
        ("eks.amazonaws.com/nodegroup", False),
        ("gpuslice.io/pool", False),
        ("metadata.name", False),
    ],
)
def test_labels_that_a_new_pool_can_carry_are_the_owners(key, own):
    assert own_label(key) is own
    assert not (own and leaves_with_today(key))


@pytest.mark.parametrize(
    ("term", "pins"),
    [
        ((needs("team", "In", "b", "a"),), (needs("team", "In", "b"),)),
        ((needs("team", "In", "b", "a"), needs("team", "NotIn", "b")), (needs("team", "In", "a"),)),
        ((needs("team", "Exists"),), (needs("team", "In", "true"),)),
        ((needs("tier", "Gt", "3"),), (needs("tier", "In", "4"),)),
        ((needs("tier", "Lt", "3"),), (needs("tier", "In", "2"),)),
        ((needs("tier", "Lt", "three"),), ()),
        ((needs("team", "NotIn", "b"), needs("rack", "DoesNotExist")), ()),
        ((needs("team", "In", "a"), needs("team", "In", "b")), ()),
        (
            (needs(ZONE, "NotIn", "us-east-1c"), needs(TYPE, "In", "g5.xlarge")),
            (needs(ZONE, "NotIn", "us-east-1c"),),
        ),
    ],
)
def test_what_a_pool_is_bound_to_for_a_term(term, pins):
    assert pins_of(term) == pins


KEYS = st.sampled_from(["team", "rack", ZONE, "example.com/tier"])
REQUIREMENTS = st.one_of(
    st.builds(
        Requirement,
        KEYS,
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Requirement, KEYS, st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(Requirement, KEYS, st.sampled_from(["Gt", "Lt"]), st.integers(0, 9).map(lambda n: (str(n),))),
)


@given(st.lists(REQUIREMENTS, max_size=4).map(tuple))
def test_a_pool_bound_to_what_a_term_asks_meets_it_or_no_labels_do(term):
    if entered((term,), {}, pins_of(term)):
        return
    values = ["true", *"abcd", *(str(number) for number in range(-1, 11))]
    for key in {condition.key for condition in term}:
        possible = [*"abcd"] if key == ZONE else [None, *values]  # every node is in a zone
        of_key = [condition for condition in term if condition.key == key]
        if not any(all(condition.holds(value) for condition in of_key) for value in possible):
            return
    pytest.fail("some labels would do")


def test_a_term_without_its_only_condition_always_holds():
    gone, kept = needs("nvidia.com/gpu.present", "In", "true"), needs("team", "In", "a")
    assert without_keys(((gone, kept), (kept,)), {gone.key}) == ((kept,),)
    assert without_keys(((gone,), (kept,)), {gone.key}) == ()
