"""Classes: what their pods have to say to get a slice."""

from dataclasses import replace

from gpuslice.hardware import cut
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner.model.classes import classes_of
from tests.planner.workload import workload
from tests.strategies import CARRIER

SLOT = cut.slot(GPUS["L4"], Mechanism.TIME_SLICING, 4)


def test_one_framework_that_takes_all_memory_binds_the_whole_class_to_a_model():
    told, free = workload("red/told", preallocates=True), workload("red/free")
    (both,) = classes_of([told, free])
    assert both.limited
    assert both.asks_for(SLOT, CARRIER).gpu == "L4"
    (alone,) = classes_of([free])
    assert not alone.limited
    assert alone.asks_for(SLOT, CARRIER).gpu == ""


def test_only_where_all_memory_is_seen_does_a_framework_need_to_know_the_model():
    (told,) = classes_of([workload("red/told", preallocates=True)])
    assert told.asks_for(cut.whole(GPUS["L4"]), CARRIER).gpu == ""


def test_a_whole_gpu_can_be_had_as_a_shared_one_but_not_by_who_is_told_its_share():
    whole = cut.whole(GPUS["L4"])
    (told,) = classes_of([workload("red/told", preallocates=True)])
    (free,) = classes_of([workload("red/free")])
    assert free.asks_otherwise(whole, CARRIER) == CARRIER.ask(SLOT)
    assert free.asks_otherwise(whole, CARRIER, 4) is None
    assert told.asks_otherwise(whole, CARRIER) is None


def test_pods_that_ask_for_shared_gpus_already_get_a_whole_one_by_its_other_name():
    whole = cut.whole(GPUS["L4"])
    (free,) = classes_of([workload("red/free")])
    shared, alone = replace(free, kept_to=CARRIER.ask(SLOT)), replace(free, kept_to=CARRIER.ask(whole))
    assert shared.renames(whole, CARRIER)
    assert shared.may_have(whole, CARRIER)
    assert not alone.renames(whole, CARRIER)
    assert alone.may_have(whole, CARRIER)
    assert not alone.may_have(SLOT, CARRIER)
