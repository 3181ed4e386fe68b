"""Consolidation: what was seen of the real Karpenter v1.14.1, and what its source says."""

import pytest

from gpuslice.karpenter.consolidation import Method, next_command
from gpuslice.karpenter.lifecycle import come_up, started
from gpuslice.karpenter.model import Budget, Node, Policy, Reason, Settings
from gpuslice.karpenter.provision import provision
from gpuslice.karpenter.requirements import CAPACITY_TYPE, requirement
from gpuslice.karpenter.templates import Pools
from tests.karpenter.cases import GPU, SHARED, bought, kind, machine, pods, pool, sliced

MIXED = {"g6.xlarge": 4, "g6.12xlarge": 16}
ALL = (Budget("100%"),)


ON_DEMAND = requirement(CAPACITY_TYPE, "In", ["on-demand"])


def mixed(**settings):
    usual = {"budgets": ALL, "requirements": (ON_DEMAND,)}
    return Pools([pool("a", *MIXED, **usual | settings)], overlays=sliced("a", MIXED))


def commanded(*args, **settings):
    """The next command, which there must be."""
    command = next_command(*args, **settings)
    assert command is not None
    return command


def running(pools, *batches):
    """Nodes for batches of pods, each batch bound as planned, all ready a long time ago."""
    nodes: list[Node] = []
    for batch in batches:
        decision = provision(pools, nodes, batch)
        for node in nodes:
            node.pods += decision.to_nodes.get(node.name, ())
        for each in decision.new:
            nodes.append(started(pools, each, f"n{len(nodes)}", -1000))
            nodes[-1].pods = list(each.pods)
            come_up(nodes[-1], -900)
    return nodes


def left_with(pools, counts, of=None):
    """Nodes of one batch each, of which so many pods are left."""
    of = of or kind()
    nodes = running(pools, *(pods(of, 4, start=10 * at) for at in range(len(counts))))
    assert len(nodes) == len(counts)
    for node, count in zip(nodes, counts, strict=True):
        node.pods = node.pods[:count]
    return nodes


def test_a_large_node_with_few_pods_left_is_replaced_by_a_small_one():
    pools = mixed()
    (large,) = running(pools, pods(kind(), 16))
    large.pods = large.pods[:3]
    command = commanded(pools, [large])
    assert command.method is Method.SINGLE_NODE
    assert bought(command.replacement).instance_type.name == "g6.xlarge"
    assert command.saves == 4_601_600 - 804_800
    assert [name for _, name in command.moves] == ["", "", ""]


def test_a_node_is_never_split_into_two_cheaper_ones():
    pools = mixed()
    (large,) = running(pools, pods(kind(), 16))
    large.pods = large.pods[:8]  # two g6.xlarge would do, at a third of the price
    assert next_command(pools, [large]) is None


def test_nodes_that_fit_together_go_all_at_once():
    pools = mixed()
    command = commanded(pools, left_with(pools, [1, 1, 1, 1]))
    assert command.method is Method.MULTI_NODE
    assert len(command.nodes) == 3
    assert command.replacement is None


def test_empty_nodes_go_first_and_all_at_once_as_budgets_let_them():
    pools = mixed()
    command = commanded(pools, left_with(pools, [0, 0, 1, 0]))
    assert command.method is Method.EMPTY
    assert len(command.nodes) == 3
    limited = mixed(budgets=(Budget("2"),))
    assert len(commanded(limited, left_with(limited, [0, 0, 1, 0])).nodes) == 2
    share = mixed(budgets=(Budget("10%"),))  # of four nodes, rounded up
    assert len(commanded(share, left_with(share, [0, 0, 1, 0])).nodes) == 1


def test_a_budget_for_one_reason_does_not_hold_for_others():
    only_empty = mixed(budgets=(Budget("0", (Reason.UNDERUTILIZED,)),))
    assert commanded(only_empty, left_with(only_empty, [0, 1])).method is Method.EMPTY
    assert next_command(only_empty, left_with(only_empty, [1, 1])) is None


def test_nodes_on_their_way_out_count_against_the_budget():
    pools = mixed(budgets=(Budget("1"),))
    nodes = left_with(pools, [0, 0, 4])
    nodes[2].deleting = True
    assert next_command(pools, nodes) is None


def test_when_empty_leaves_nodes_with_pods_alone():
    pools = mixed(policy=Policy.WHEN_EMPTY)
    assert next_command(pools, left_with(pools, [1, 1])) is None
    assert commanded(pools, left_with(pools, [0, 1])).method is Method.EMPTY


def test_consolidate_after_counts_from_the_last_change_of_pods():
    pools = mixed(consolidate_after=60)
    nodes = left_with(pools, [1, 1])
    nodes[0].last_pod_event = nodes[1].last_pod_event = -30
    assert next_command(pools, nodes) is None
    nodes[0].last_pod_event = -61
    # The other one may not go yet, and takes no pods of others either.
    assert next_command(pools, nodes) is None
    nodes[1].last_pod_event = -61
    assert commanded(pools, nodes).saves == 804_800
    never = mixed(consolidate_after=None)
    assert next_command(never, left_with(never, [0, 1])) is None


@pytest.mark.parametrize("guard", [{"do_not_disrupt": True}, {"unavailable": 0}])
def test_pods_that_must_not_go_keep_their_node(guard):
    pools = mixed()
    assert next_command(pools, left_with(pools, [1], kind(**guard))) is None
    guarded = left_with(pools, [1, 1], kind(**guard))
    assert next_command(pools, guarded) is None


def test_a_node_that_is_kept_nominated_or_not_ready_stays():
    for keep in (
        {"do_not_disrupt": True},
        {"nominated_until": 10},
        {"initialized": False, "initialized_at": None},
        {"deleting": True},
    ):
        pools = mixed()
        nodes = left_with(pools, [0])
        for key, value in keep.items():
            setattr(nodes[0], key, value)
        assert next_command(pools, nodes) is None


def test_pods_are_not_moved_to_a_node_that_is_not_ready():
    pools = mixed()
    nodes = left_with(pools, [1, 1])
    nodes[0].initialized, nodes[0].initialized_at = False, None
    assert next_command(pools, nodes) is None


def test_what_is_not_cheaper_replaces_nothing():
    pools = Pools([pool("a", "g6.xlarge", budgets=ALL)], overlays=sliced("a", {"g6.xlarge": 4}))
    assert next_command(pools, left_with(pools, [3, 3])) is None


def test_several_nodes_are_not_replaced_by_one_of_a_type_that_could_just_stay():
    types = {"g6.xlarge": 4, "g6.2xlarge": 8}
    pools = Pools([pool("a", *types, budgets=ALL)], overlays=sliced("a", types))
    nodes = running(pools, pods(kind(), 8), pods(kind(), 4, start=20))
    assert [node.instance_type for node in nodes] == ["g6.2xlarge", "g6.xlarge"]
    nodes[0].pods = nodes[0].pods[:2]
    nodes[1].pods = nodes[1].pods[:2]
    command = commanded(pools, nodes)
    # Not both for one new g6.xlarge: the dear one goes, the other stays.
    assert (command.method, [node.instance_type for node in command.nodes]) == (
        Method.SINGLE_NODE,
        ["g6.2xlarge"],
    )
    assert command.replacement is None


def test_pods_that_are_dear_to_move_make_their_node_the_last_to_go():
    pools = mixed()
    nodes = left_with(pools, [1, 1, 4])
    dear = kind("dear", priority=2**25 * 5)
    nodes[0].pods = pods(dear, 1, start=500)
    command = commanded(pools, nodes)
    assert nodes[0] not in command.nodes


def test_spot_is_not_replaced_by_spot_unless_the_gate_is_open_and_fifteen_types_are_cheaper():
    def spot(count, **settings):
        types = [
            machine(f"t{at}.x", price=9_000_000, spot=1000 + at, **{GPU: 0, SHARED: 2}) for at in range(count)
        ]
        large = machine("large.x", price=9_000_000, spot=500_000, **{GPU: 0, SHARED: 8})
        only_spot = requirement(CAPACITY_TYPE, "In", ["spot"])
        pools = Pools(
            [pool("a", *types, large, requirements=(only_spot,), budgets=ALL)], settings=Settings(**settings)
        )
        (node,) = running(pools, pods(kind(), 4))
        assert node.instance_type == "large.x"
        node.pods = node.pods[:1]
        return next_command(pools, [node])

    assert spot(20) is None
    assert spot(14, spot_to_spot=True) is None
    command = spot(20, spot_to_spot=True)
    assert bought(command.replacement).instance_type.name == "t0.x"
    assert len(command.replacement.types) == 15


def test_a_replacement_for_on_demand_is_bought_on_spot_only():
    offered = machine("g6.xlarge", price=800_000, spot=300_000, **{SHARED: 4})
    large = machine("g6.12xlarge", price=4_600_000, **{SHARED: 16, GPU: 0})
    pools = Pools([pool("a", offered, large, budgets=ALL)])
    (node,) = running(pools, pods(kind(), 16))
    node.pods = node.pods[:2]
    command = commanded(pools, [node])
    assert bought(command.replacement).capacity_type == "spot"
    assert command.replacement.requirements[CAPACITY_TYPE].values == {"spot"}


def test_pods_already_pending_do_not_stop_consolidation_by_failing():
    pools = mixed()
    nodes = left_with(pools, [1, 1])
    assert commanded(pools, nodes, pods(kind("huge", cpu=10**6), 1)).saves == 804_800


def test_where_spot_is_allowed_but_not_to_be_had_the_replacement_fails_to_launch():
    pools = mixed(requirements=())
    (large,) = running(pools, pods(kind(), 16))
    large.pods = large.pods[:3]
    command = commanded(pools, [large])
    assert command.replacement.launch is None
    assert command.saves == 0
