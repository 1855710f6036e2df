"""What almost every function takes and gives."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
