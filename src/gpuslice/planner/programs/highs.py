"""HiGHS behind three small doors: a linear master that grows, one node's relaxation, and a mixed-integer program.

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
    from concurrent.futures import Future

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int32]

INFINITY = highspy.kHighsInf
_NO_ENTRIES = np.empty(0, dtype=np.int32)


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
    """A covering program min c.y, A y >= demand, y >= 0, that grows by columns, and limits, and keeps its basis."""

    def __init__(
        self,
        demand: Sequence[float],
        penalty: Sequence[float],
        most: Sequence[float] = (),
        *,
        toll: float = 0.0,
    ) -> None:
        """Start with one artificial column a row, so that it is always feasible.

        Args:
            demand: the least of each covering row.
            penalty: cost of one unit that is not covered, one for each row.
            most: of rows that follow these, in which columns may take no more than so much.
            toll: cost of passing one of them by one unit.
        """
        self._solver = _silent()
        self._demands = len(demand)
        self._rows = self._all_rows = len(demand) + len(most)
        for each in demand:
            self._solver.addRow(each, INFINITY, 0, _NO_ENTRIES, np.empty(0))
        for each in most:
            self._solver.addRow(-INFINITY, each, 0, _NO_ENTRIES, np.empty(0))
        for row, cost in enumerate(penalty):
            self.add(Column(cost, (row,), (1.0,)))
        for row in range(len(demand), self._rows):
            self.add(Column(toll, (row,), (-1.0,)))

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

    def add_limit(self) -> int:
        """Append a row that may not exceed 0, for columns to come; its number."""
        self._solver.addRow(-INFINITY, 0.0, 0, _NO_ENTRIES, np.empty(0))
        self._all_rows += 1
        return self._all_rows - 1

    def limit_time(self, seconds: float) -> None:
        """From now on, stop after so many seconds each time, solved or not."""
        self._solver.setOptionValue("time_limit", max(seconds, 0.01) + self._solver.getRunTime())

    @property
    def solved(self) -> bool:
        """Whether the last solve came to its end."""
        return self._solver.getModelStatus() == highspy.HighsModelStatus.kOptimal

    def short(self) -> Floats:
        """How much of each demand the last solution leaves uncovered."""
        return np.asarray(self._solver.getSolution().col_value[: self._demands])

    def solve(self) -> tuple[float, Floats, Floats]:
        """Objective, primal values of the columns after the artificial ones, duals of the first rows.

        Duals are of the demand and, after them, of the rows with a most: what one unit is worth, never negative.
        """
        self._solver.run()
        if self._solver.getModelStatus() not in {
            highspy.HighsModelStatus.kOptimal,
            highspy.HighsModelStatus.kTimeLimit,
        }:
            # The basis went bad: start over from none rather than trust it.
            self._solver.clearSolver()
            self._solver.run()
        solution = self._solver.getSolution()
        primal = np.asarray(solution.col_value[self._rows :])
        duals = np.asarray(solution.row_dual[: self._rows])
        duals[self._demands :] *= -1.0
        duals = np.maximum(duals, 0.0)
        return self._solver.getInfo().objective_function_value, primal, duals


class LoadProgram:
    """A packing program max v.x, A x <= limits, 0 <= x <= most, solved again and again with other v and most."""

    def __init__(self, entries: Floats, limits: Floats, most: Floats, *, equal: int = 0) -> None:
        """Keep what doesn't change.

        Args:
            entries: A, shape (rows, columns).
            limits: of the rows, shape (rows,).
            most: of the columns, shape (columns,).
            equal: how many of the last rows are equations.
        """
        rows, columns = entries.shape
        self._columns = np.arange(columns, dtype=np.int32)
        self._zeros = np.zeros(columns)
        self._solver = _silent()
        self._solver.setOptionValue("presolve", "off")
        self._solver.setOptionValue(
            "simplex_strategy", 4
        )  # primal: only costs change, the basis stays feasible
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = columns, rows
        model.col_cost_, model.col_lower_, model.col_upper_ = self._zeros, self._zeros, most
        model.row_lower_ = np.where(np.arange(rows) >= rows - equal, limits, -INFINITY)
        model.row_upper_ = limits
        model.sense_ = highspy.ObjSense.kMaximize
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.arange(rows + 1, dtype=np.int32) * columns
        model.a_matrix_.index_ = np.tile(self._columns, rows)
        model.a_matrix_.value_ = np.ascontiguousarray(entries).ravel()
        self._solver.passModel(model)

    def limit(self, most: Floats) -> None:
        """From now on, at most so much of each column."""
        self._solver.changeColsBounds(len(self._columns), self._columns, self._zeros, most)

    def duals(self, values: Floats) -> Floats:
        """What a unit of each row's limit is worth at the optimum for these values."""
        self._solver.changeColsCost(len(self._columns), self._columns, values)
        self._solver.run()
        duals: Floats = np.asarray(self._solver.getSolution().row_dual)
        return duals


def solve_mixed(
    columns: Sequence[Column],
    row_lower: Sequence[float],
    row_upper: Sequence[float],
    *,
    seconds: float,
    gap: float,
    nodes: int | None = None,
    hasty: bool = False,
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
        hasty: don't try branches before one is taken: few nodes don't pay for that.
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
    if hasty:
        solver.setOptionValue("mip_pscost_minreliable", 0)
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


def begin_mixed(
    columns: Sequence[Column],
    row_lower: Sequence[float],
    row_upper: Sequence[float],
    *,
    seconds: float,
    gap: float,
    nodes: int | None = None,
    hasty: bool = False,
    start: Floats | None = None,
) -> Future[Answer]:
    """Begin with `solve_mixed`, in a thread of its own: HiGHS works beside Python, and solvers share nothing."""
    from concurrent.futures import ThreadPoolExecutor

    thread = ThreadPoolExecutor(1)
    begun = thread.submit(
        solve_mixed,
        columns,
        row_lower,
        row_upper,
        seconds=seconds,
        gap=gap,
        nodes=nodes,
        hasty=hasty,
        start=start,
    )
    thread.shutdown(wait=False)
    return begun


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
