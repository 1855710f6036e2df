"""Laws of the initial state: the same law initialises a PDE and particles."""

from pdekit.laws.chi import Chi
from pdekit.laws.gaussian import Gaussian
from pdekit.laws.mixture import Mixture
from pdekit.laws.product import Product
from pdekit.laws.protocol import Law, Source, require_law
from pdekit.laws.uniform import Uniform

__all__ = ["Chi", "Gaussian", "Law", "Mixture", "Product", "Source", "Uniform", "require_law"]
