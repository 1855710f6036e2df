"""Optimizers of the papers for networks: ``torch.optim.Optimizer``s, one file an algorithm.

Each is made as ``cls(params, lr=...)`` and works with parameter groups, learning rate schedulers
and ``state_dict``. Those that need several gradients a step take a closure, as
``torch.optim.LBFGS`` does: it zeroes the gradients, computes the loss, calls ``backward()`` and
returns the loss. The names are imported on first use, because torch and numba are slow to load.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdekit.optim import schedules as schedules
    from pdekit.optim.batch_norm import recalibrate as recalibrate
    from pdekit.optim.elastic_sgd import ElasticSGD as ElasticSGD
    from pdekit.optim.entropy_sgd import EntropySGD as EntropySGD
    from pdekit.optim.heat import HEAT as HEAT
    from pdekit.optim.hj import HJ as HJ
    from pdekit.optim.mass import MaSS as MaSS
    from pdekit.optim.mf_hom_sgld import MFHomSGLD as MFHomSGLD
    from pdekit.optim.mf_sgld import MFSGLD as MFSGLD
    from pdekit.optim.nesterov import NesterovRestart as NesterovRestart
    from pdekit.optim.parle import Parle as Parle
    from pdekit.optim.sgld import SGLD as SGLD
    from pdekit.optim.trivialized import TrivializedSGD as TrivializedSGD
else:
    from pdekit import lazy

    __all__, __getattr__, __dir__ = lazy.names(__name__)
