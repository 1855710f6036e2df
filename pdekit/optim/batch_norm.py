"""Running statistics of batch normalisation, at the weights that are to be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn


def recalibrate(model: nn.Module, loader: Iterable[Any], device: Any = None) -> None:
    """Recompute running means and variances of ``BatchNorm`` layers at the weights of ``model``.

    Optimizers whose gradients are taken elsewhere than at the weights that they leave in the
    parameters (at inner steps, or in replicas) need it before the model is evaluated or saved.
    ``torch.optim.swa_utils.update_bn``: one pass over the data in training mode, in which every
    batch has the same weight.

    Parameters
    ----------
    model : of which only running statistics change; nothing is done without such
    loader : batches of inputs, or tuples that begin with the inputs; leave out a last batch that
        is much smaller
    device : to which the inputs are moved

    Raises ``ValueError`` if no batch reaches a layer, as of an empty loader, which would leave mean
    0 and variance 1. If anything raises, the statistics are as before.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers:
        return
    with _put_back(model, layers):
        update_bn(loader, model, device)
        if any(layer.num_batches_tracked == 0 for layer in layers):
            raise ValueError(
                "recalibrate found no batch that reaches each BatchNorm layer; give it a loader "
                "that has not been used up"
            )


@contextmanager
def _put_back(model: nn.Module, layers: list[Any]) -> Iterator[None]:
    """Restore modes and momenta, and after an error the statistics."""
    modes = [(m, m.training) for m in model.modules()]
    momenta = [layer.momentum for layer in layers]
    kept = [{name: t.clone() for name, t in layer.named_buffers()} for layer in layers]
    try:
        yield
    except BaseException:
        for layer, buffers in zip(layers, kept, strict=True):
            for name, tensor in buffers.items():
                getattr(layer, name).copy_(tensor)
        raise
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, training in modes:
            module.training = training
