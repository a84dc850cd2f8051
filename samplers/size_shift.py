"""The shift of a flow model that fits the size of a picture."""

import math

# Best for the host's scheduler `simple` on the spectrum of FLUX.2's latents of photographs: of the shifts 1, 3 and 6, the best
# at 256, 512 and 1024 pixels are 1, 3 and 6.
SHIFT_AT_1024 = 6.0


def shift_for(width: int, height: int, at_1024: float = SHIFT_AT_1024) -> float:
    """The shift for width x height pixels.

    In a larger picture the coarsest part has a larger standard deviation, in proportion to the side, and is drawn at a larger
    sigma / alpha, which a shift multiplies. `at_1024` is the shift for 1024 x 1024.
    """
    return at_1024 * math.sqrt(width * height) / 1024.0
