"""What demands of services are worth at given values of replicas: a bound, so never more than the best mix costs."""

from itertools import product

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from gpuslice.planner.bound.links import Links

kinds = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 100)), min_size=1, max_size=3)


@hypothesis.given(kinds)
def test_a_demand_is_worth_no_more_than_its_cheapest_mix_of_whole_replicas(mine):
    # A replica of each kind carries 1 / n of the demand.
    links = Links((0,) * len(mine), tuple((at, 0, n, 1 / n) for at, (n, _) in enumerate(mine)), 1)
    values = np.asarray([float(value) for _, value in mine])
    best = min(
        sum(count * value for count, (_, value) in zip(counts, mine, strict=True))
        for counts in product(*(range(n + 1) for n, _ in mine))
        if sum(count / n for count, (n, _) in zip(counts, mine, strict=True)) >= 1 - 1e-9
    )
    assert links.worth(values) <= best + 1e-9


def test_a_replica_too_large_counts_whole_and_fixed_replicas_count_too():
    # 0.6 of the demand a replica: two are needed, not 1.67.
    links = Links((3, 0), ((1, 0, 2, 0.6),), 1)
    assert links.worth(np.asarray([10.0, 4.0])) == pytest.approx(3 * 10 + 2 * 4)


def test_without_services_it_is_what_the_replicas_are_worth():
    assert Links((3, 2)).worth(np.asarray([10.0, 4.0])) == 38.0
