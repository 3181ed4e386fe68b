"""The solver's arrays, by what they hold: names for annotations, as numpy.typing costs start-up time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Singles = NDArray[np.float32]
