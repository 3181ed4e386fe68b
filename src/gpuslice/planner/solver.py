"""HiGHS behind two small doors: a linear master that grows by columns, and a mixed-integer program solved once.

A solver's answer is a value here: status, objective and proven bound apart. HiGHS 1.14.0 gave wrong answers to
mixed-integer programs and is excluded in pyproject.toml; ortools must never share the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import highspy
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int32]

INFINITY = highspy.kHighsInf


@dataclass(frozen=True, slots=True)
class Column:
    """One variable of a program: its cost and its entries, row numbers ascending."""

    cost: float
    rows: tuple[int, ...]
    values: tuple[float, ...]
    upper: float = INFINITY
    integer: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What a mixed-integer solve came to.

    Attributes:
        values: of the variables, rounded to integers where they are; None: no feasible point was found.
        objective: of `values`, or infinity.
        bound: proven least objective; minus infinity where nothing was proven.
        optimal: whether the gap asked for was reached.
    """

    values: Floats | None
    objective: float
    bound: float
    optimal: bool


def _silent() -> highspy.Highs:
    solver: highspy.Highs = highspy.Highs()  # type: ignore[no-untyped-call]  # its constructor has no types
    solver.setOptionValue("output_flag", False)
    # One thread: the same input gives the same plan, and two cores are seldom ours alone.
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("random_seed", 1)
    return solver


class LinearMaster:
    """A covering program min c.y, A y >= demand, y >= 0, that grows by columns and keeps its basis."""

    def __init__(self, demand: Sequence[float], penalty: Sequence[float]) -> None:
        """Start with one artificial column a row, so that it is always feasible."""
        self._solver = _silent()
        self._rows = len(demand)
        no_entries = np.empty(0, dtype=np.int32)
        for each in demand:
            self._solver.addRow(each, INFINITY, 0, no_entries, np.empty(0))
        for row, cost in enumerate(penalty):
            self.add(Column(cost, (row,), (1.0,)))

    def add(self, column: Column) -> None:
        """Append one column; its entries must name rows that exist."""
        self._solver.addCol(
            column.cost,
            0.0,
            column.upper,
            len(column.rows),
            np.asarray(column.rows, dtype=np.int32),
            np.asarray(column.values, dtype=np.float64),
        )

    def solve(self) -> tuple[float, Floats, Floats]:
        """Objective, primal values of the columns after the artificial ones, duals of the rows (never negative)."""
        self._solver.run()
        if self._solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            # The basis went bad: start over from none rather than trust it.
            self._solver.clearSolver()
            self._solver.run()
        solution = self._solver.getSolution()
        primal = np.asarray(solution.col_value[self._rows :])
        duals = np.maximum(np.asarray(solution.row_dual[: self._rows]), 0.0)
        return self._solver.getInfo().objective_function_value, primal, duals


def solve_mixed(
    columns: Sequence[Column],
    row_lower: Sequence[float],
    row_upper: Sequence[float],
    *,
    seconds: float,
    gap: float,
    nodes: int | None = None,
    start: Floats | None = None,
) -> Answer:
    """Minimise over the columns within the rows' limits.

    Args:
        columns: variables, each 0 <= x <= upper.
        row_lower: least of each row, -INFINITY for none.
        row_upper: most of each row, INFINITY for none.
        seconds: time limit.
        gap: relative gap at which to stop.
        nodes: of branch and bound at most: a limit that is the same on every machine, unlike seconds.
        start: a feasible point to begin from.
    """
    solver = _silent()
    solver.setOptionValue("time_limit", max(seconds, 0.01))
    # Restarts and these two heuristics took half of the time on fleets of 50 workloads, for a tenth of a percent.
    for costly in ("mip_allow_restart", "mip_heuristic_run_root_reduced_cost", "mip_heuristic_run_rins"):
        solver.setOptionValue(costly, False)
    solver.setOptionValue("mip_rel_gap", gap)
    if nodes is not None:
        solver.setOptionValue("mip_max_nodes", nodes)
    solver.passModel(_model(columns, row_lower, row_upper))
    if start is not None:
        solution = highspy.HighsSolution()
        solution.col_value = list(start)
        solution.value_valid = True
        solver.setSolution(solution)
    solver.run()
    info = solver.getInfo()
    status = solver.getModelStatus()
    feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    integral = any(column.integer for column in columns)
    bound = info.mip_dual_bound if integral else info.objective_function_value
    if not feasible:
        return Answer(None, INFINITY, -INFINITY, optimal=False)
    values = np.asarray(solver.getSolution().col_value)
    whole = np.asarray([column.integer for column in columns])
    values = np.where(whole, np.rint(values), values)
    return Answer(
        values,
        float(np.dot([column.cost for column in columns], values)),
        float(bound),
        optimal=status == highspy.HighsModelStatus.kOptimal,
    )


def _model(
    columns: Sequence[Column], row_lower: Sequence[float], row_upper: Sequence[float]
) -> highspy.HighsLp:
    model = highspy.HighsLp()
    model.num_col_ = len(columns)
    model.num_row_ = len(row_lower)
    model.col_cost_ = np.asarray([column.cost for column in columns])
    model.col_lower_ = np.zeros(len(columns))
    model.col_upper_ = np.asarray([column.upper for column in columns])
    model.row_lower_ = np.asarray(row_lower, dtype=np.float64)
    model.row_upper_ = np.asarray(row_upper, dtype=np.float64)
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_ = np.concatenate(
        [[0], np.cumsum([len(column.rows) for column in columns])]
    ).astype(np.int32)
    model.a_matrix_.index_ = np.asarray([row for column in columns for row in column.rows], dtype=np.int32)
    model.a_matrix_.value_ = np.asarray(
        [value for column in columns for value in column.values], dtype=np.float64
    )
    model.integrality_ = [
        highspy.HighsVarType.kInteger if column.integer else highspy.HighsVarType.kContinuous
        for column in columns
    ]
    return model
