"""The gradient part of a drift, as slopes along the edges of a grid.

A drift is a 1-form on the edges, Δ_e = -β ∫ D⁻¹ b along e. Where it is a gradient, the stationary
density balances it: log ρ falls by Δ_e from one end to the other. Where it circulates, it does not.
The rates of `drift_diffusion` are exact for densities that fall by p_e, so that they need a guess
of it, good at low temperatures; any guess gives second order.

The guess is the closest gradient (Hodge's decomposition of the 1-form, in the plane by fast
transforms), and on a closed line the slope of its own stationary state.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdekit.arrays import Array
from pdekit.grid import Grid
from pdekit.pde.discrete.generators import axis_neighbours, bernoulli

_CLOSED = 1e-10  # a smaller sum around a closed line counts as a gradient


def gradient_part(forms: Sequence[Array], grid: Grid) -> Array:
    """U at the cells whose differences are closest to a 1-form: min Σ_e (Δ_e - δU_e)² / h_e².

    ``forms[axis]`` over the inner faces along the axis (and its seam). A mean rotation is
    subtracted first: otherwise the walls would turn part of it into a gradient.
    """
    source = np.zeros(grid.shape)
    if not any(grid.periodic):
        forms = [form - turn for form, turn in zip(forms, _rotation(forms, grid), strict=True)]
    for axis, form in enumerate(forms):
        h = grid.spacing[axis]
        here, there = axis_neighbours(np.arange(source.size).reshape(grid.shape), axis, grid)
        np.add.at(source.ravel(), there.ravel(), form.ravel() / h**2)
        np.subtract.at(source.ravel(), here.ravel(), form.ravel() / h**2)
    return _poisson(source, grid)


def bounded_slopes(forms: Sequence[Array], grid: Grid) -> list[Array]:
    """Differences of the gradient part, limited by the form itself. So a

    huge force in a corner of the box does not spoil the estimate elsewhere.
    """
    height = gradient_part(forms, grid)
    squares = []
    for axis, form in enumerate(forms):
        square = np.zeros(grid.shape)
        index = np.arange(square.size).reshape(grid.shape)
        for side in axis_neighbours(index, axis, grid):
            np.maximum.at(square.ravel(), side.ravel(), (form.ravel() / grid.spacing[axis]) ** 2)
        squares.append(square)
    length = np.sqrt(sum(squares[1:], squares[0]))
    out = []
    for axis, h in enumerate(grid.spacing):
        here, there = axis_neighbours(height, axis, grid)
        most = h * np.maximum(*axis_neighbours(length, axis, grid))
        out.append(np.clip(there - here, -most, most))
    return out


def _rotation(forms: Sequence[Array], grid: Grid) -> Sequence[Array]:
    """The rotation in the linear 1-form closest to this one, about the latter's zero."""
    if grid.dim == 1:
        return [np.zeros_like(forms[0])]
    middle = (np.array(grid.lower) + np.array(grid.upper)) / 2
    half = (np.array(grid.upper) - np.array(grid.lower)) / 2
    slopes, means, places = np.zeros((2, 2)), np.zeros(2), []
    for axis, form in enumerate(forms):
        lines = [x if k != axis else (x[1:] + x[:-1]) / 2 for k, x in enumerate(grid.axes)]
        x = [x - m for x, m in zip(np.ix_(*lines), middle, strict=True)]
        means[axis] = form.mean() / grid.spacing[axis]
        slopes[axis] = [(form * z).mean() / np.mean(z * z) / grid.spacing[axis] for z in x]
        places.append(x)
    zero = np.clip(np.linalg.lstsq(slopes, -means, rcond=None)[0], -half, half)
    turn = (slopes[1, 0] - slopes[0, 1]) / 2
    along_x = -turn * grid.spacing[0] * (places[0][1] - zero[1])
    along_y = turn * grid.spacing[1] * (places[1][0] - zero[0])
    return [along_x, along_y]


def _poisson(source: Array, grid: Grid) -> Array:
    """U of zero mean with Σ_axis δᵀδ U / h² = source, by cosines between walls, else Fourier's."""
    from scipy import fft

    values: NDArray[Any] = source
    symbol = np.zeros(grid.shape)
    for axis, n in enumerate(grid.cells):
        turn = 2 if grid.periodic[axis] else 1
        mode = (2 - 2 * np.cos(turn * np.pi * np.arange(n) / n)) / grid.spacing[axis] ** 2
        symbol += mode.reshape([-1 if k == axis else 1 for k in range(grid.dim)])
        values = fft.fft(values, axis=axis) if turn == 2 else fft.dct(values, axis=axis)
    symbol.ravel()[0] = np.inf
    values = values / symbol
    for axis in range(grid.dim):
        values = (fft.ifft if grid.periodic[axis] else fft.idct)(values, axis=axis)
    return np.ascontiguousarray(values.real)


def slopes_round(form: Array, weight: Array, axis: int) -> Array:
    """log ρ_i - log ρ_{i+1} of the stationary state on each closed line along ``axis``.

    The flux J = w (B(Δ) ρ_i - B(-Δ) ρ_{i+1}) is the same in every edge. With ψ_i the sum of Δ up to
    i and R = e^ψ / (w B(Δ)) this is y_i = ρ_i e^ψ_i = J (Σ_{k>=i} R_k + Σ_k R_k / (e^-Ψ - 1)),
    Ψ < 0 the sum over the line (otherwise the line is traversed in the other direction): positive
    terms, by logs.
    """
    form, weight = np.moveaxis(form, axis, 0), np.moveaxis(weight, axis, 0)
    total = form.sum(0)
    back = total > 0
    form = np.where(back, -form[::-1], form)
    weight = np.where(back, weight[::-1], weight)
    total = -np.abs(total)
    size = np.abs(form)
    log_b = np.log(bernoulli(np.minimum(size, 700.0)) + np.maximum(-form, 0.0))
    psi = np.concatenate([np.zeros((1, *total.shape)), np.cumsum(form, 0)[:-1]])
    resistance = psi - np.log(weight) - log_b
    ahead = np.logaddexp.accumulate(resistance[::-1], 0)[::-1]
    with np.errstate(divide="ignore"):  # log(e^-Ψ - 1)
        round_ = ahead[0] + total - np.log(-np.expm1(total))
    y = np.logaddexp(ahead, round_)
    closing = y[:1] + total  # ρ_n is ρ_0: y_n = ρ_0 e^Ψ
    fall = form + y - np.concatenate([y[1:], closing])
    fall = np.where(-total > _CLOSED * (1 + size.max(0)), fall, form)
    fall = np.where(back, -fall[::-1], fall)
    return np.moveaxis(fall, 0, axis)
