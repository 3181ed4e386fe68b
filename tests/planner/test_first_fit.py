from hypothesis import given
from hypothesis import strategies as st

from gpuslice.planner.homes.first_fit import first_fit

AMOUNTS = st.tuples(*[st.integers(0, 12)] * 3)
ROOMS = st.tuples(*[st.integers(1, 40)] * 3)
PODS = st.lists(st.tuples(AMOUNTS, st.integers(1, 15)), max_size=5)


def one_by_one(room, pods):
    """The same, pod by pod: to the node with the fewest pods, of those with the one that has least left."""
    nodes: list[tuple[int, tuple[int, ...]]] = []
    for size, count in pods:
        for _ in range(count):
            fitting = [
                each
                for each in sorted(nodes)
                if all(free >= need for free, need in zip(each[1], size, strict=True))
            ]
            if fitting:
                held, free = fitting[0]
                nodes.remove(fitting[0])
            elif all(have >= need for have, need in zip(room, size, strict=True)):
                held, free = 0, room
            else:
                return None
            nodes.append((held + 1, tuple(have - need for have, need in zip(free, size, strict=True))))
    return sorted(nodes)


@given(ROOMS, PODS)
def test_counting_nodes_that_are_alike_comes_to_the_same_as_pod_by_pod(room, pods):
    found = first_fit(room, pods)
    listed = None if found is None else sorted(key for key, count in found.items() for _ in range(count))
    assert listed == one_by_one(room, pods)


def test_the_node_with_the_fewest_pods_is_filled_first():
    # Two nodes, of three and of one pod: small ones even them out before they fill the first.
    found = first_fit((12,), [((4,), 4), ((1,), 3)])
    assert found == {(3, (0,)): 1, (4, (5,)): 1}
    found = first_fit((12,), [((4,), 5), ((1,), 3)])
    assert found == {(3, (0,)): 1, (5, (1,)): 1}


def test_a_pod_that_fits_no_node_is_told_of():
    assert first_fit((4, 4), [((1, 1), 2), ((5, 0), 1)]) is None
