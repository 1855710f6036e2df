"""Optimizers of the papers for networks: ``torch.optim.Optimizer``s, one file an algorithm.

Each is made as ``cls(params, lr=...)`` and works with parameter groups, learning rate schedulers
and ``state_dict``. Those that need several gradients a step take a closure, as
``torch.optim.LBFGS`` does: it zeroes the gradients, computes the loss, calls ``backward()`` and
returns the loss. The names are imported on first use, because torch and numba are slow to load.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "HEAT": "heat",
    "HJ": "hj",
    "SGLD": "sgld",
    "ElasticSGD": "elastic_sgd",
    "EntropySGD": "entropy_sgd",
    "MaSS": "mass",
    "NesterovRestart": "nesterov",
    "Parle": "parle",
    "TrivializedSGD": "trivialized",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pdekit.optim' has no attribute {name!r}")
    value = getattr(import_module(f"pdekit.optim.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
