"""NodeOverlays: what they set, in which order, and which are refused."""

from gpuslice.karpenter.model import Overlay
from gpuslice.karpenter.overlays import overlaid
from gpuslice.karpenter.requirements import CAPACITY_TYPE, INSTANCE_TYPE, NODE_POOL, requirement
from tests.karpenter.cases import SHARED, machine, pool


def slots(pools, pool_name, type_name):
    found = next(each for each in pools if each.name == pool_name)
    return next(each for each in found.instance_types if each.name == type_name).capacity.get(SHARED, 0)


def test_an_overlay_is_for_the_pools_and_types_that_it_names():
    scope = (requirement(NODE_POOL, "In", ["a"]), requirement(INSTANCE_TYPE, "In", ["g6.xlarge"]))
    done = overlaid(
        [pool("a", "g6.xlarge", "g6.2xlarge"), pool("b", "g6.xlarge")], [Overlay("o", scope, {SHARED: 4})]
    )
    assert [
        slots(done.pools, *which) for which in (("a", "g6.xlarge"), ("a", "g6.2xlarge"), ("b", "g6.xlarge"))
    ] == [
        4,
        0,
        0,
    ]


def test_a_pool_is_found_by_its_labels_but_not_by_its_requirements():
    done = overlaid(
        [
            pool("a", "g6.xlarge", labels={"cut": "x"}),
            pool("b", "g6.xlarge", requirements=(requirement("cut", "In", ["x"]),)),
        ],
        [Overlay("o", (requirement("cut", "In", ["x"]),), {SHARED: 4})],
    )
    assert (slots(done.pools, "a", "g6.xlarge"), slots(done.pools, "b", "g6.xlarge")) == (4, 0)


def test_the_heavier_overlay_wins_and_the_lighter_is_silently_without_effect():
    done = overlaid(
        [pool("a", "g6.xlarge")],
        [Overlay("light", (), {SHARED: 2}, weight=1), Overlay("heavy", (), {SHARED: 8}, weight=2)],
    )
    assert slots(done.pools, "a", "g6.xlarge") == 8
    assert done.refused == ()


def test_of_two_equal_overlays_the_last_name_wins_and_the_other_serves_no_pool_at_all():
    done = overlaid(
        [pool("a", "g6.xlarge"), pool("b", "g5.xlarge")],
        [
            Overlay("m", (), {SHARED: 2}),
            Overlay("z", (requirement(NODE_POOL, "In", ["a"]),), {SHARED: 8}),
        ],
    )
    assert done.refused == ("m",)
    assert (slots(done.pools, "a", "g6.xlarge"), slots(done.pools, "b", "g5.xlarge")) == (8, 0)


def test_equal_overlays_of_different_resources_do_not_conflict():
    done = overlaid([pool("a", "g6.xlarge")], [Overlay("m", (), {SHARED: 2}), Overlay("z", (), {"other": 8})])
    assert done.refused == ()
    assert dict(done.pools[0].instance_types[0].capacity)["other"] == 8


def test_prices_are_set_adjusted_and_never_negative():
    def price(overlay):
        done = overlaid([pool("a", machine("g6.xlarge", price=1_000_000, spot=400_000))], [overlay])
        return [each.price for each in done.pools[0].instance_types[0].offerings], done.priced

    assert price(Overlay("o", (), price=300_000))[0] == [300_000, 300_000]
    assert price(Overlay("o", (), adjustment="+0.5"))[0] == [1_500_000, 900_000]
    assert price(Overlay("o", (), adjustment="-10%"))[0] == [900_000, 360_000]
    spot = (requirement(CAPACITY_TYPE, "In", ["spot"]),)
    assert price(Overlay("o", spot, adjustment="-5")) == ([1_000_000, 0], {("a", "g6.xlarge")})


def test_two_equal_overlays_of_one_price_conflict():
    done = overlaid([pool("a", "g6.xlarge")], [Overlay("m", (), price=1), Overlay("z", (), price=2)])
    assert done.refused == ("m",)
