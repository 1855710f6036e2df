"""The empirical risk of a torch model as a function of its trainable weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from pdekit import checks

Loss = Callable[[Tensor, Tensor], Tensor]
Data = tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]]
Weights = dict[str, Tensor]

_FLOATS = (torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class EmpiricalRisk:
    """f(θ) = N⁻¹ Σ_k l(model(x_k; θ), y_k), at the weights that the model has now.

    ``weights`` are those that require gradients, each tensor once, ``fixed`` the others and the
    buffers: copies, so that training may go on. ``batch`` examples are looked at together.
    """

    model: torch.nn.Module
    loss: Loss
    inputs: Tensor
    targets: Tensor
    weights: Weights
    fixed: Weights
    batch: int

    @classmethod
    def of(cls, model: torch.nn.Module, loss: Loss, data: Data, batch: int) -> EmpiricalRisk:
        """Of the user's arguments, looked at: ``TypeError`` and ``ValueError`` say what is off."""
        checks.value_not_class("model", model)
        checks.one_of("model", model, "a torch.nn.Module", torch.nn.Module)
        checks.function("loss", loss, "be a function of outputs and targets, their mean loss")
        checks.takes("loss", loss, "a function of outputs and targets", 2)
        weights, fixed = _tensors(model)
        batch = checks.whole("batch", batch, 1)
        risk = cls(model, loss, *_examples(data), weights, fixed, batch)
        risk._look_at_the_mean()
        return risk

    @property
    def examples(self) -> int:
        """N."""
        return len(self.inputs)

    @property
    def dim(self) -> int:
        """d, the number of trainable weights."""
        return sum(w.numel() for w in self.weights.values())

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and of all that is computed."""
        return next(iter(self.weights.values())).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(iter(self.weights.values())).device

    def outputs(self, weights: Weights, inputs: Tensor) -> Tensor:
        """model(x; θ)."""
        out: Tensor = functional_call(self.model, {**self.fixed, **weights}, (inputs,))
        return out

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets, where the weights are; the last may be smaller."""
        parts = zip(self.inputs.split(self.batch), self.targets.split(self.batch), strict=True)
        for x, y in parts:
            yield x.to(self.device), y.to(self.device)

    def leaves(self) -> Weights:
        """The weights, to be differentiated by."""
        return {name: w.clone().requires_grad_() for name, w in self.weights.items()}

    def flat(self, weights: Iterable[Tensor]) -> Tensor:
        """Tensors of the shapes of the weights as one vector (d,)."""
        return torch.cat([w.reshape(-1) for w in weights])

    def shaped(self, vector: Tensor) -> list[Tensor]:
        """The inverse of ``flat``."""
        parts = vector.split([w.numel() for w in self.weights.values()])
        return [p.view_as(w) for p, w in zip(parts, self.weights.values(), strict=True)]

    def agree(self, one: Tensor, other: Tensor) -> bool:
        """Whether two losses differ by no more than rounding."""
        rtol, atol = (1e-4, 1e-5) if one.dtype == torch.float32 else (1e-8, 1e-10)
        return bool(torch.isclose(one, other.to(one.dtype), rtol=rtol, atol=atol))

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """The model in evaluation mode: no dropout, normalisation by what was learnt."""
        modes = {module: module.training for module in self.model.modules()}
        self.model.eval()
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode

    def _look_at_the_mean(self) -> None:
        with self.evaluated(), torch.no_grad():
            for k, (x, y) in enumerate(self.batches()):
                z = self._outputs_seen(x)
                if k == 0 and not torch.equal(z, self._outputs_seen(x)):
                    raise ValueError(
                        "model must give the same outputs twice, even in evaluation mode; this one "
                        "draws at random: take the noise out of its forward"
                    )
                whole = self._loss_seen(z, y)
                mean = self._each(z, y).mean()
                if not self.agree(whole, mean):
                    raise ValueError(
                        f"loss must be the mean over the examples of a batch; got {whole:.6g} on "
                        f"{len(x)} examples whose own losses have mean {mean:.6g}: use "
                        "reduction='mean', and no weights of classes"
                    )

    def _each(self, z: Tensor, y: Tensor) -> Tensor:
        """The losses of the examples alone."""
        try:
            found: Tensor = vmap(self.loss)(z[:, None], y[:, None])
            return found
        except RuntimeError:  # vmap lacks a rule
            return torch.stack([self.loss(a[None], b[None]) for a, b in zip(z, y, strict=True)])

    def _outputs_seen(self, x: Tensor) -> Tensor:
        try:
            z = self.outputs(self.weights, x)
        except Exception as error:
            raise checks.failed(
                error,
                f"model fails on inputs of shape {tuple(x.shape)}, {x.dtype}: {error}; its weights "
                f"are {self.dtype}",
            ) from error
        if not torch.is_tensor(z) or z.ndim == 0 or len(z) != len(x):
            raise ValueError(
                f"model must map {len(x)} inputs to as many outputs along the first axis, got "
                f"{checks.shown(z)}"
            )
        return z

    def _loss_seen(self, z: Tensor, y: Tensor) -> Tensor:
        try:
            value = self.loss(z, y)
        except Exception as error:
            raise checks.failed(
                error,
                f"loss fails on outputs of shape {tuple(z.shape)} and targets of shape "
                f"{tuple(y.shape)}, {y.dtype}: {error}",
            ) from error
        if not torch.is_tensor(value) or value.ndim or not value.isfinite():
            raise ValueError(
                f"loss must be a finite number, the mean over a batch; got {checks.shown(value)}"
            )
        return value


def _tensors(model: torch.nn.Module) -> tuple[Weights, Weights]:
    """Trainable weights, each once however often it is used, and all that stays fixed."""
    every = dict(model.named_parameters())
    weights = {name: w.detach().clone() for name, w in every.items() if w.requires_grad}
    if not weights:
        raise ValueError(
            "model has no trainable weights; set requires_grad of those that are to be varied"
        )
    types = {w.dtype for w in weights.values()}
    if len(types) > 1 or not types <= set(_FLOATS):
        raise ValueError(
            "the trainable weights must be all of float32 or all of float64, got "
            f"{', '.join(sorted(map(str, types)))}; convert a copy by .double()"
        )
    if not all(w.isfinite().all() for w in weights.values()):
        raise ValueError("the weights of the model must be finite")
    if len({w.device for w in weights.values()}) > 1:
        raise ValueError("the trainable weights must be on one device; move the model to one")
    fixed = {name: w.detach().clone() for name, w in every.items() if not w.requires_grad}
    return weights, fixed | {name: b.detach().clone() for name, b in model.named_buffers()}


def _examples(data: Any) -> tuple[Tensor, Tensor]:
    """Inputs and targets of all examples: a pair of tensors, or of every batch of a loader."""
    what = "a pair of tensors (inputs, targets), or batches of such pairs as of a DataLoader"
    if isinstance(data, tuple | list) and len(data) == 2 and all(map(torch.is_tensor, data)):
        pairs = [data]
    else:
        try:
            pairs = list(data)
        except TypeError as error:
            raise TypeError(f"data must be {what}, got {checks.shown(data)}") from error
    for pair in pairs:
        if (
            not isinstance(pair, tuple | list)
            or len(pair) != 2
            or not all(map(torch.is_tensor, pair))
        ):
            raise TypeError(f"data must be {what}, got {checks.shown(pair)}")
        if any(t.ndim == 0 for t in pair) or len(pair[0]) != len(pair[1]):
            raise ValueError(
                "data must have a target for each input along the first axis, got shapes "
                f"{tuple(pair[0].shape)} and {tuple(pair[1].shape)}"
            )
    if not sum(len(x) for x, _ in pairs):
        raise ValueError(f"data must be {what}, got no example")
    inputs, targets = (torch.cat([pair[k].detach() for pair in pairs]) for k in (0, 1))
    if not all(torch.isfinite(t).all() for t in (inputs, targets)):
        raise ValueError("data must be finite, got NaN or infinity among inputs or targets")
    return inputs, targets
