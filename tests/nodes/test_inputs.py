"""Choices that reach a node from another one, which the host does not check."""

import pytest
import torch

pytestmark = pytest.mark.host

_REFUSED = {
    "method must be one of exp_res, 2m, 2s, 3s; got '4s'": ("RESSDE", ("4s", 1.0, 1.0)),
    "method must be one of exp_res, 2m, 2s, 3s; got a list": ("RESSDE", ([], 1.0, 1.0)),
    "solver must be one of exp_res, .*; got 'euler'": ("RESStochasticChurn", ("euler", 5.0, 0.0, 100.0, 1.0)),
    "flow_variable must be one of auto, logsnr, log_sigma; got 3": ("RESSingleStep", ({"stages": "2", "c2": 0.5}, 3)),
    "axis must be one of auto, logSNR, sigma; got None": ("RESSigmasPlot", (torch.ones(2), None, None, None, None, None)),
    "data must be one of emoji, digits; got 'photos'": ("RESToyModel", ("photos", {"kind": "eps"}, 0.1)),
    "data must be one of emoji, digits; got None": ("RESToyLatent", (None, 1)),
    "data must be one of emoji, digits; got 'faces'": ("RESToyCondition", ({"data": "faces", "class": "any"},)),
    "class must be one of any, 0, .*; got '10'": ("RESToyCondition", ({"data": "digits", "class": "10"},)),
    "class must be one of any, faces, .*; got '7'": ("RESToyCondition", ({"data": "emoji", "class": "7"},)),
}


@pytest.mark.parametrize("message", _REFUSED)
def test_what_is_no_choice_is_refused_by_name(pack, message):
    node, values = _REFUSED[message]
    with pytest.raises(ValueError, match=message):
        pack[node].execute(*values)
