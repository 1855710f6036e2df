"""Mean-field games: the coupled forward-backward system, and its solvers.

-u_t = L u - |∇u|^2 / 2 + ℓ(x, rho(t)), u(., T) = g(x, rho(T)); rho_t = ∇·((∇V + ∇u) rho) +
beta^-1 Δrho (mathematics 1.7). In time, the costs act at the nodes with the weights of the
trapezoidal rule and Bellman steps (``bellman``, ``policy``) lead from node to node: second
order, and the density is propagated by exactly the transposed derivative of the value's step. A
flow of densities rho is an equilibrium if it is its own response, rho = T(rho).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from pdekit import checks
from pdekit.arrays import Array
from pdekit.errors import ConvergenceError
from pdekit.grid import Grid
from pdekit.pde.bellman.steps import TooSteep
from pdekit.pde.control.couplings import Coupling
from pdekit.pde.discrete.stats import GameStats
from pdekit.pde.discrete.step_doubling import doubling_error

_LEAST_STRENGTH = 2.0**-10  # smallest continuation step in the strength of the coupling
_LEAST_SHARE = 2.0**-4  # the same, of the strength that is reached
_MOST = 5  # maximal responses of a continuation, as a multiple of ``rounds``
_FEWEST = 4  # number of nodes from which the error in time can be estimated
_KRYLOV = 50  # maximal products with the linearised response per solve
_LEAST_STEP = 2.0**-6  # shortest step of the line search


@dataclass(frozen=True, eq=False)
class Game:
    """A discretised game, apart from the densities.

    ``steps(U, dt)`` makes a Bellman step and ``steps.forward_backward`` goes over all nodes;
    ``running`` and ``terminal`` are the costs without the couplings; ``strength`` scales the
    couplings (1 is the game itself). ``closed``: a strength at which it has been closed before, and
    the flow there.
    """

    grid: Grid
    times: Array
    steps: Any
    initial: Array
    running: Array | float
    terminal: Array
    coupling: Coupling | None = None
    terminal_coupling: Coupling | None = None
    strength: float = 1.0
    closed: tuple[float, Array] | None = None

    def constant_flow(self) -> Array:
        """The constant flow, equal to the initial density, shape ``(times, *grid.shape)``."""
        return np.repeat(self.initial[None], len(self.times), 0)

    def costs(self, flow: Array) -> tuple[Array, Array]:
        """The running cost at every node and the terminal cost, at the densities ``flow``."""
        running = np.empty_like(flow)
        running[...] = self.running
        terminal = self.terminal
        if self.coupling is not None:
            running += self._scaled(self.coupling.cost(flow, self.grid))
        if self.terminal_coupling is not None:
            terminal = terminal + self._scaled(self.terminal_coupling.cost(flow[-1], self.grid))
        return running, terminal

    def cost_changes(self, flow: Array, change: Array) -> tuple[Array, Array]:
        """The derivative of ``costs`` at ``flow`` along ``change``."""
        running, terminal = np.zeros_like(flow), np.zeros_like(self.terminal)
        if self.coupling is not None:
            running = self._scaled(self.coupling.derivative(flow, change, self.grid))
        if self.terminal_coupling is not None:
            terminal = self._scaled(
                self.terminal_coupling.derivative(flow[-1], change[-1], self.grid)
            )
        return running, terminal

    def _scaled(self, cost: Array) -> Array:
        return cost if self.strength == 1 else self.strength * cost

    def respond(self, flow: Array) -> "Response":
        """The value function at the densities ``flow``, and the flow under its control."""
        running, terminal = self.costs(flow)
        found = self.steps.forward_backward(self.times, running, terminal)
        out = found.flow(self.initial)
        if not np.isfinite(out).all():
            raise TooSteep(
                "the density under the control left the range of numbers; use more times"
            )
        return Response(self, flow, found, out, running, terminal)


@dataclass(frozen=True, eq=False)
class Response:
    """The best response to the flow ``given``: the value function and the resulting flow."""

    game: Game
    given: Array
    forward_backward: Any
    flow: Array
    running: Array
    terminal: Array

    @property
    def values(self) -> Array:
        """The value function at the nodes."""
        out: Array = self.forward_backward.values
        return out

    @cached_property
    def defect(self) -> Array:
        """T(rho) - rho."""
        return self.flow - self.given

    @cached_property
    def distance(self) -> float:
        """Largest L1 distance over time of given and resulting flow, relative to the mass."""
        axes = tuple(range(1, self.flow.ndim))
        return float(np.abs(self.defect).sum(axis=axes).max() / self.game.initial.sum())

    def change(self, change: Array) -> Array:
        """T'(rho) change: costs, then value backward, then density forward, all linearised."""
        out: Array = self.forward_backward.change(
            *self.game.cost_changes(self.given, change), self.flow
        )
        return out

    def time_error(self) -> float:
        """Error of the value by the steps in time: a third of the change by steps

        twice as long. At the densities found; infinite for too few steps, or if those fail.
        """
        game, thin = self.game, np.unique([*range(0, len(self.game.times), 2), -1 % len(self.flow)])
        if len(thin) < _FEWEST:
            return np.inf
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                found = game.steps.forward_backward(
                    game.times[thin], self.running[thin], self.terminal
                )
        except ConvergenceError:
            return np.inf
        return doubling_error(found.values, self.values[thin], _largest_change, 2)

    def gap(self) -> float:
        """Exploitability: the gain of a player by the best reply to the current flow.

        The cost of the current control is evaluated at the densities ``flow`` instead of
        ``given``; that of the best reply is the value function at these densities. >= 0, and zero
        at an equilibrium; per unit of mass, in the units of the cost.
        """
        game = self.game
        running, terminal = game.costs(self.flow)
        best = game.steps.forward_backward(game.times, running, terminal).values
        total = ((self.values[0] - best[0]) * game.initial).sum()
        total += ((terminal - self.terminal) * self.flow[-1]).sum()
        total += (_weights(game.times, running) * (running - self.running) * self.flow).sum()
        return float(total / game.initial.sum())


class Stalled(ConvergenceError):
    """No step along Newton's direction comes closer to the equilibrium.

    ``closed``: as of ``Game``, where the couplings have been switched on in part.
    """

    closed: tuple[float, Array] | None = None


def _largest_change(u: Array, v: Array) -> float:
    return float(np.abs(u - v).max())


def _weights(times: Array, like: Array) -> Array:
    """Weights of the trapezoidal rule over the nodes, broadcastable to ``like``."""
    steps = np.diff(times)
    weights = np.concatenate([steps, [0.0]]) / 2 + np.concatenate([[0.0], steps]) / 2
    return weights.reshape(-1, *[1] * (like.ndim - 1))


class Solver(Protocol):
    """A solver of the coupled system, for ``control(solver=...)``."""

    def close(self, game: Game, counts: Any, /) -> Response:
        """The response at equilibrium; the work is recorded in ``counts``, of ``GameStats``."""
        ...


@dataclass(frozen=True)
class Newton:
    """Newton's method on rho = T(rho), with line search and continuation in the coupling.

    (1 - T'(rho)) change = T(rho) - rho by GMRES; a product with T' is a linearised backward and
    forward sweep. In a game with monotone coupling and potential, T' has no positive eigenvalue:
    the system is never singular. If Newton's method stalls, the couplings are
    increased in steps (continuation), with five times the rounds in total. ``tolerance``: largest
    L1 distance over time between rho and T(rho), relative to the mass. ``rounds``: maximal
    responses per continuation step.
    Raises ``ConvergenceError`` with the distance reached.
    """

    tolerance: float = 1e-6
    rounds: int = 40

    def __post_init__(self) -> None:
        _require_limits(self)

    def close(self, game: Game, counts: GameStats) -> Response:
        """The response at equilibrium.

        Into ``counts``: ``responses``, ``products`` with T', ``strengths`` of the continuation and
        the ``distances`` of all responses.
        """
        return _Search(self, counts).close(game)

    def closed_from(self, game: Game, flow: Array) -> Response:
        """The response at the equilibrium near a flow, without continuation."""
        return _Search(self, GameStats()).solve(game, flow)


class _Search:
    """Newton's method for one game, and the responses that it has taken."""

    def __init__(self, solver: Newton, counts: GameStats) -> None:
        self.tolerance, self.rounds, self.counts = solver.tolerance, solver.rounds, counts
        self.responses = 0

    def close(self, game: Game) -> Response:
        """The game as it is or, where that fails, with its couplings switched on in steps."""
        if game.closed is not None:
            return self.switched_on(game, *game.closed)
        try:
            return self.solve(game, game.constant_flow())
        except ConvergenceError:
            alone = replace(game, strength=0.0).respond(game.constant_flow())
        return self.switched_on(game, 0.0, alone.flow)

    def switched_on(self, game: Game, reached: float, flow: Array) -> Response:
        """From the flow at the strength ``reached``."""
        step, ahead = (1 - reached) / 2, np.zeros(1)  # the flow's change by the strength
        while reached < 1:
            strength = min(1.0, reached + step)
            try:
                start = np.maximum(flow + (strength - reached) * ahead, 0.0)
                found = self.solve(replace(game, strength=strength), start)
            except ConvergenceError as error:
                step /= 2
                if (
                    step < max(_LEAST_STRENGTH, _LEAST_SHARE * reached)
                    or self.responses > _MOST * self.rounds
                ):
                    raise _partly_closed(error, reached, flow) from error
                continue
            self.counts["strengths"] = self.counts.get("strengths", 0) + 1
            ahead = (found.flow - flow) / (strength - reached)
            flow, reached, step = found.flow, strength, 2 * step
        return found

    def solve(self, game: Game, flow: Array) -> Response:
        """From a given flow, by at most this number of rounds."""
        now, forcing = self.respond(game, flow), 0.1
        for k in range(self.rounds):
            if now.distance <= self.tolerance:
                return now
            # no more accurate than needed in this round
            enough = min(0.3 * self.tolerance / now.distance, 0.1)
            change = _solved(now, max(forcing, enough), self.counts)
            new = self.line_search(now, change, k)
            fall = np.linalg.norm(new.defect) / np.linalg.norm(now.defect)
            now, forcing = new, float(np.clip(0.9 * fall**2, 1e-4, 0.1))
        raise _not_closed("Newton", now, self.rounds)

    def line_search(self, now: Response, change: Array, rounds: int) -> Response:
        """As far along the change as the defect falls."""
        size, old = 1.0, np.linalg.norm(now.defect)
        while size >= _LEAST_STEP:
            try:
                new = self.respond(now.game, now.given + size * change)
            except ConvergenceError:
                new = None
            if new is not None and np.linalg.norm(new.defect) <= (1 - 0.1 * size) * old:
                return new
            size /= 2
        raise _not_closed("the line search of Newton", now, rounds)

    def respond(self, game: Game, flow: Array) -> Response:
        """A response, which counts."""
        self.responses += 1
        return _counted(game, flow, self.counts)


@dataclass(frozen=True)
class FixedPoint:
    """rho <- (1 - damping) rho + damping T(rho): converges for weak couplings and short horizons.

    ``damping`` in (0, 1], 1 is undamped. Raises ``ConvergenceError`` with the distance
    reached if it is not below ``tolerance`` after ``rounds`` (as in ``Newton``).
    """

    damping: float = 0.5
    rounds: int = 500
    tolerance: float = 1e-7

    def __post_init__(self) -> None:
        _require_limits(self)
        if not 0 < checks.number("damping", self.damping) <= 1:
            raise ValueError(f"damping must lie in (0, 1], got {self.damping}")

    def close(self, game: Game, counts: GameStats) -> Response:
        """The response at equilibrium."""
        return _relaxed(self, game, lambda k: self.damping, counts)


@dataclass(frozen=True)
class FictitiousPlay:
    """rho <- rho + (T(rho) - rho) / (k + 2): best replies to the average of all past flows.

    Converges for potential games however strong the coupling, at the slow rate 1/k (Cardaliaguet
    and Hadikhanloo 2017): hence the loose ``tolerance``. Raises ``ConvergenceError`` with the
    distance reached.
    """

    rounds: int = 2000
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        _require_limits(self)

    def close(self, game: Game, counts: GameStats) -> Response:
        """The response at equilibrium."""
        return _relaxed(self, game, lambda k: 1 / (k + 2), counts)


def _relaxed(solver: Any, game: Game, share: Callable[[int], float], counts: GameStats) -> Response:
    flow = game.constant_flow()
    for k in range(solver.rounds):
        now = _counted(game, flow, counts)
        if now.distance <= solver.tolerance:
            return now
        flow = flow + (1.0 if k == 0 else share(k)) * now.defect
    raise _not_closed(type(solver).__name__, now, solver.rounds)


def _counted(game: Game, flow: Array, counts: GameStats) -> Response:
    counts["responses"] = counts.get("responses", 0) + 1
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        now = game.respond(flow)
    counts.setdefault("distances", []).append(now.distance)
    return now


def _solved(now: Response, forcing: float, counts: GameStats) -> Array:
    """(1 - T') change = T(rho) - rho up to ``forcing``; rho at time 0 is fixed."""
    shape = now.flow[1:].shape
    start = np.zeros_like(now.flow[:1])

    def product(vector: Array) -> Array:
        counts["products"] = counts.get("products", 0) + 1
        change = np.concatenate([start, vector.reshape(shape)])
        return vector - now.change(change)[1:].ravel()

    found = _minimal_residual(product, now.defect[1:].ravel(), forcing)
    return np.concatenate([start, found.reshape(shape)])


def _minimal_residual(product: Callable[[Array], Array], b: Array, rtol: float) -> Array:
    """GMRES without restarts from zero; SciPy's needs one more product, to check the residual."""
    size = float(np.linalg.norm(b))
    basis, h = [b / size], np.zeros((_KRYLOV + 1, _KRYLOV))
    for j in range(_KRYLOV):
        v = product(basis[j])
        for i, q in enumerate(basis):
            h[i, j] = q @ v
            v -= h[i, j] * q
        h[j + 1, j] = np.linalg.norm(v)
        right = np.append(size, np.zeros(j + 1))
        y = np.linalg.lstsq(h[: j + 2, : j + 1], right, rcond=None)[0]
        left = np.linalg.norm(h[: j + 2, : j + 1] @ y - right)
        if left <= rtol * size or h[j + 1, j] <= 1e-14 * size:
            break
        basis.append(v / h[j + 1, j])
    out: Array = y[0] * basis[0]
    for c, q in zip(y[1:], basis[1:], strict=False):
        out += c * q
    return out


def _not_closed(name: str, now: Response, rounds: int) -> ConvergenceError:
    advice, kind = "use more times, soften the coupling or use solver=Newton()", ConvergenceError
    if name == "Newton":
        advice = "use more times, soften the coupling or raise rounds="
    elif "Newton" in name:  # more times have been tried, and more rounds do not help
        advice, kind = "soften the coupling", Stalled
    return kind(
        f"{name} did not close the game: after {rounds} rounds the flow and the response to it are "
        f"{now.distance:.3g} apart (L1 over the mass, largest over time), exploitability "
        f"{now.gap():.3g}; {advice}"
    )


def _partly_closed(failure: ConvergenceError, reached: float, flow: Array) -> Stalled:
    text = f"the game was closed up to {reached:.3g} of its coupling, not beyond: {failure}"
    stalled = Stalled(text)
    stalled.closed = reached, flow
    return stalled


def _require_limits(solver: Any) -> None:
    checks.share("tolerance", solver.tolerance)
    checks.whole("rounds", solver.rounds, 1)
