"""What a plan's search may spend, what each of its steps costs, and how its time is dealt out: all in one place.

Seconds are those of a usual machine, two cores of 2024: figures by which work is counted, never measured while a plan
is made. They are what the steps took there, in the mean over fleets of 10 to 2,000 workloads (`python -m bench.work`).
"""

from __future__ import annotations

from typing import Final

SECONDS: Final = 10.0
"""Of work for a plan, unless asked otherwise."""

# What each step gets.
LEFT_BY_BOUND: Final = 0.18  # of all, for whole nodes, beside what these leave
LEFT_BY_PACKING: Final = 0.12  # at least
LEFT_BY_HOMES: Final = 0.08
A_HOME: Final = 0.02  # seconds for each workload with one template, so that it gets a good one …
ALL_HOMES: Final = 0.25  # … and the most of all for all of them
LEFT_BY_MIXING: Final = 0.1
LEFT_BY_SEATS_BOUND: Final = 0.4  # of what is left once it is chosen what pods with seats ask for
SERVICES_BOUND: Final = (
    0.3  # of what is left, for what services come to at least: the only bound of large fleets
)

# How often a solver may look at its limits, some two hundred times a second, in programs of which few nodes take long.
CHECKS_OF_LISTED: Final = 300  # over listed loads: whoever stops the search waits no longer
CHECKS_OF_SEATS: Final = 600
CHECKS_OF_SERVICES: Final = 4_000  # which look often
CHECKS_OF_LAST_RESORT: Final = 2_000  # for any packing at all, where limits leave the dive without one

# What steps cost, seconds.
PIVOT: Final = 0.12e-6  # a step of the master's simplex, for each of its rows …
MASTER: Final = 0.5e-3  # … and each time that it is solved
COLUMN: Final = 4e-6  # added to it
PATTERN: Final = 0.6e-6  # looked at once
TARIFF: Final = 0.12e-3  # the prices of a node's resources at the linear optimum …
QUICK_TARIFF: Final = 9e-6  # … and of some plain ones the best
TABLE: Final = 60e-6  # of a knapsack …
CELL: Final = 4e-9  # … a cell of it, for each item
LOOKS: Final = 35e-6  # an item that is put onto loads …
LOOK: Final = 1e-6  # … for each load that comes of it
MIG_LOAD: Final = 5e-3  # of a node of several GPUs, each cut in its own way …
MIG_GEOMETRY: Final = 0.5e-3  # … or of one GPU, for each way to cut it
LISTED: Final = 0.05e-6  # a load met while they are listed
FILLED: Final = 12e-6  # a pool's nodes by first fit, for each type …
STEP: Final = 0.6e-6  # … and each kind of node that a kind of pod is tried on
PACKED: Final = 0.1e-3  # a pool's nodes by packing, for each kind of pods
LEAST: Final = 2e-6  # what a pool costs at least, for each kind of pods
ARRIVAL: Final = 20e-6  # a pod that arrives in the model of Karpenter …
BINDING: Final = 0.05e-6  # … for each node that there may be
ROLLOUT: Final = 0.3e-3  # a pool's pods, once
