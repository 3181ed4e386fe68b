"""HiGHS behind three small doors: a linear master that grows, one node's relaxation, and a mixed-integer program.

A solver's answer is a value here: its status, why it ended, its solution, and what it proved, each apart. How long it
may take is counted in its own steps, so that the answer is the same on a busy machine; real time is a net below that.
HiGHS 1.14.0 gave wrong answers to mixed-integer programs and is excluded in pyproject.toml; ortools must never share
the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import highspy
import numpy as np

from gpuslice.planner.programs.stdout import silenced

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int32]

with silenced():  # HiGHS 1.16 greets on stdout, once, before it can be told not to
    highspy.Highs()  # type: ignore[no-untyped-call]  # its constructor has no types

INFINITY = highspy.kHighsInf
# From a point to begin from, HiGHS 1.16.0 may come to an objective that no point has, with presolve: 50.12 of a program
# whose optimum is 51.85. Without one it is right.
_BEGINS_ANYWHERE: Final = (highspy.HIGHS_VERSION_MAJOR, highspy.HIGHS_VERSION_MINOR) < (1, 16)
_ROUNDING: Final = 1e-5  # of an objective: what rounding the values to integers may change
_NO_ENTRIES = np.empty(0, dtype=np.int32)


class Status(StrEnum):
    """What is known of a program."""

    OPTIMAL = "optimal"  # within the gap asked for
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


class Ended(StrEnum):
    """Why a solver ended."""

    SOLVED = "solved"  # or proven to have no solution
    WORK = "work"  # the nodes, checks or steps allowed
    TIME = "time"  # on the wall
    FAILED = "failed"  # numbers that it can't cope with


@dataclass(frozen=True, slots=True)
class Column:
    """One variable of a program: its cost and its entries, row numbers ascending."""

    cost: float
    rows: tuple[int, ...]
    values: tuple[float, ...]
    upper: float = INFINITY
    integer: bool = True


@dataclass(frozen=True, slots=True)
class Stop:
    """When to be content, or to give up.

    Attributes:
        gap: relative, of the best point above what is proven, that is near enough.
        nodes: of branch and bound at most.
        checks: how often HiGHS may look at its limits, some two hundred times a second: for programs of which a single
            node may take long.
        seconds: of real time at most, beyond anything that is usual.
    """

    gap: float
    nodes: int
    checks: int | None = None
    seconds: float = INFINITY


@dataclass(frozen=True, slots=True)
class Point:
    """A feasible point of a program.

    Attributes:
        values: of the variables, rounded to integers where they are, shape (columns,).
        objective: of these.
    """

    values: Floats
    objective: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a mixed-integer solve came to.

    Attributes:
        status: of the program.
        ended: why no more is known.
        point: the best feasible one found; None where none was.
        bound: no feasible point is below; None where nothing was proven.
    """

    status: Status
    ended: Ended
    point: Point | None
    bound: float | None


@dataclass(frozen=True, slots=True)
class Mix:
    """The solution of a linear master.

    Attributes:
        value: of the objective.
        amounts: of the columns after the artificial ones.
        duals: of the demand and, after them, of the rows with a most: what one unit is worth, never negative.
        short: how much of each demand is not covered.
    """

    value: float
    amounts: Floats
    duals: Floats
    short: Floats


@dataclass(frozen=True, slots=True)
class MasterAnswer:
    """What a linear master came to.

    Attributes:
        ended: SOLVED: at the optimum.
        mix: the optimum; None where it wasn't reached.
        steps: of the simplex that it took.
    """

    ended: Ended
    mix: Mix | None
    steps: int


_ENDED: Final = {
    highspy.HighsModelStatus.kOptimal: Ended.SOLVED,
    highspy.HighsModelStatus.kInfeasible: Ended.SOLVED,
    highspy.HighsModelStatus.kSolutionLimit: Ended.WORK,
    highspy.HighsModelStatus.kIterationLimit: Ended.WORK,
    highspy.HighsModelStatus.kInterrupt: Ended.WORK,
    highspy.HighsModelStatus.kTimeLimit: Ended.TIME,
}
_TRUSTED: Final = {  # of a master, which always has a solution
    highspy.HighsModelStatus.kOptimal,
    highspy.HighsModelStatus.kIterationLimit,
    highspy.HighsModelStatus.kTimeLimit,
}


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
        self._rows = len(demand) + len(most)
        for value in demand:
            self._solver.addRow(value, INFINITY, 0, _NO_ENTRIES, np.empty(0))
        for bound in most:
            self._solver.addRow(-INFINITY, bound, 0, _NO_ENTRIES, np.empty(0))
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

    def solve(self, *, steps: int, seconds: float) -> MasterAnswer:
        """The cheapest mix of the columns.

        Args:
            steps: of the simplex at most.
            seconds: of real time at most.
        """
        self._solver.setOptionValue("simplex_iteration_limit", steps)
        self._solver.setOptionValue("time_limit", seconds + self._solver.getRunTime())
        self._solver.run()
        taken = self._steps()
        if self._solver.getModelStatus() not in _TRUSTED:
            # The basis went bad: start over from none rather than trust it.
            self._solver.clearSolver()
            self._solver.run()
            taken += self._steps()
        ended = _ENDED.get(self._solver.getModelStatus(), Ended.FAILED)
        if self._solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return MasterAnswer(ended, None, taken)
        solution = self._solver.getSolution()
        duals = np.asarray(solution.row_dual)
        duals[self._demands :] *= -1.0
        mix = Mix(
            self._solver.getInfo().objective_function_value,
            np.asarray(solution.col_value[self._rows :]),
            np.maximum(duals, 0.0),
            np.asarray(solution.col_value[: self._demands]),
        )
        return MasterAnswer(ended, mix, taken)

    def _steps(self) -> int:
        return max(int(self._solver.getInfo().simplex_iteration_count), 0)


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
    stop: Stop,
    *,
    hasty: bool = False,
    start: Floats | None = None,
) -> Answer:
    """Minimise over the columns within the rows' limits.

    Args:
        columns: variables, each 0 <= x <= upper.
        row_lower: least of each row, -INFINITY for none.
        row_upper: most of each row, INFINITY for none.
        stop: when to be content, or to give up.
        hasty: don't try branches before one is taken: few nodes don't pay for that.
        start: a feasible point to begin from; the answer is no worse.
    """
    solver = _silent()
    solver.setOptionValue("time_limit", stop.seconds)
    # Restarts and these two heuristics took half of the time on fleets of 50 workloads, for a tenth of a percent.
    for costly in ("mip_allow_restart", "mip_heuristic_run_root_reduced_cost", "mip_heuristic_run_rins"):
        solver.setOptionValue(costly, False)
    solver.setOptionValue("mip_rel_gap", stop.gap)
    solver.setOptionValue("mip_max_nodes", stop.nodes)
    if hasty:
        solver.setOptionValue("mip_pscost_minreliable", 0)
    if stop.checks is not None:
        _stop_after(solver, stop.checks)
    solver.passModel(_model(columns, row_lower, row_upper))
    if start is not None and _BEGINS_ANYWHERE:
        solution = highspy.HighsSolution()
        solution.col_value = list(start)
        solution.value_valid = True
        solver.setSolution(solution)
    solver.run()
    answer = _answer(solver, columns)
    if start is None:
        return answer
    begun = Point(start, float(np.dot([column.cost for column in columns], start)))
    if answer.point is not None and answer.point.objective <= begun.objective:
        return answer
    return Answer(Status.FEASIBLE, answer.ended, begun, answer.bound)


def _stop_after(solver: highspy.Highs, checks: int) -> None:
    """Have the solver end at so many looks at its limits: at the same point of its search, whatever the machine."""
    left = checks

    def look(event: highspy.HighsCallbackEvent) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            event.interrupt()

    solver.cbMipInterrupt.subscribe(look)


def _answer(solver: highspy.Highs, columns: Sequence[Column]) -> Answer:
    """What the solver came to."""
    info, status = solver.getInfo(), solver.getModelStatus()
    ended = _ENDED.get(status, Ended.FAILED)
    if status == highspy.HighsModelStatus.kInfeasible:
        return Answer(Status.INFEASIBLE, ended, None, None)
    integral = any(column.integer for column in columns)
    proven = float(info.mip_dual_bound if integral else info.objective_function_value)
    bound = proven if abs(proven) < INFINITY and (integral or ended is Ended.SOLVED) else None
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return Answer(Status.UNKNOWN, ended, None, bound)
    values = np.asarray(solver.getSolution().col_value)
    whole = np.asarray([column.integer for column in columns])
    values = np.where(whole, np.rint(values), values)
    objective = float(np.dot([column.cost for column in columns], values))
    if abs(objective - info.objective_function_value) > _ROUNDING * max(abs(objective), 1.0):
        return Answer(Status.FEASIBLE, Ended.FAILED, Point(values, objective), None)  # it contradicts itself
    solved = status == highspy.HighsModelStatus.kOptimal
    return Answer(Status.OPTIMAL if solved else Status.FEASIBLE, ended, Point(values, objective), bound)


def begin_mixed(
    columns: Sequence[Column],
    row_lower: Sequence[float],
    row_upper: Sequence[float],
    stop: Stop,
    *,
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
        stop,
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
