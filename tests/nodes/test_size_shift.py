"""RES Shift for Size: the shift multiplies the noise level as the side multiplies the coarsest part of a picture."""

import numpy as np
import pytest

from samplers.size_shift import shift_for


def test_a_shift_draws_a_larger_picture_as_none_draws_a_smaller():
    """The constant part of an orthonormal transform of an enlarged picture grows like the shift."""
    rng = np.random.default_rng(0)
    small = rng.normal(size=(32, 32)) + 1.0
    large = np.kron(small, np.ones((2, 3)))
    constant = lambda picture: picture.sum() / np.sqrt(picture.size)  # noqa: E731
    assert shift_for(96, 64) / shift_for(32, 32) == pytest.approx(constant(large) / constant(small))
    assert [shift_for(side, side) for side in (512, 1024)] == [3.0, 6.0]


def test_the_node_says_it_and_the_host_takes_it(pack, toy):
    shift, text = pack["RESShiftForSize"].execute(2048, 512, 3.0).result
    assert shift == 3.0 and text == "2048 x 512: shift 3, where 3 fits 1024 x 1024"
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    [shifted] = ModelSamplingSD3().patch(toy("flow", shift=1.0), shift)
    assert float(shifted.get_model_object("model_sampling").shift) == 3.0
