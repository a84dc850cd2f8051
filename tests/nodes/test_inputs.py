"""Every input of every node refuses bad values from other nodes by name, because the host does not check them."""

import json
import math
import time

import pytest
import torch
from prompts import custom_node, execution_error, graph_of, report

from dev.interface import SNAPSHOT

pytestmark = pytest.mark.host

_SIGMAS, _DIGIT = torch.tensor([14.6, 5.0, 1.0, 0.2, 0.03, 0.0]), torch.zeros(1, 1, 8, 8)
HOSTILE = [
    None, True, False, -1, 0, 1, 2**31, 4_000_000_000, 10**400, 10**5000, -(10**400), 0.5, -0.0, 1e-320, 1e308, math.nan,
    math.inf, -math.inf, 1j, "", "x", "0", "nan", "\ud800", "a" * 100_000, b"x", [], [1], (), {}, {"x": 1}, {"samples": None},
    [[None, None]], {"samples": torch.zeros(0, 1, 8, 8)}, {"samples": torch.zeros(())}, {"samples": torch.zeros(4)},
    {"samples": "x"}, object(), int, torch.tensor(1.0), torch.tensor([[1.0, 0.0]]), torch.tensor([1, 0]),
    torch.tensor([1.0 + 1j]), torch.zeros(()), len,
    _SIGMAS.to("meta"), _SIGMAS.to_sparse(), _SIGMAS.to(torch.float8_e4m3fn), _SIGMAS * math.nan, _SIGMAS.flip(0), -_SIGMAS,
    {"samples": _DIGIT.to("meta")}, {"samples": _DIGIT.to_sparse()}, {"samples": _DIGIT * 1j}, {"samples": _DIGIT.long()},
    {"samples": _DIGIT, "noise_mask": "x"}, {"samples": _DIGIT, "noise_mask": torch.zeros(3)},
    {"samples": _DIGIT, "batch_index": "x"}, {"samples": _DIGIT, "batch_index": 3}, {"samples": _DIGIT, "batch_index": [-1]},
    [["x", {}]], [[torch.zeros(10), {}]], [[torch.zeros(1, 1, 10, device="meta"), {}]],
]  # fmt: skip


def _widget(item):
    """A valid value of the input."""
    from comfy_api.v0_0_2 import io

    if isinstance(item, io.DynamicCombo.Input):
        option = item.options[0]
        return {item.id: option.key, **{inner.id: _widget(inner) for inner in option.inputs}}
    return item.options[0] if isinstance(item, io.Combo.Input) else item.default


@pytest.fixture
def valid(pack, toy, digit, cld):
    """valid(node) -> values of all its inputs, none of which is optional here."""
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import CFGGuider, Noise_RandomNoise

    model, condition = toy(), digit("3")
    wires = {
        "MODEL": model, "SIGMAS": _SIGMAS, "LATENT": {"samples": _DIGIT}, "CONDITIONING": condition,
        "SAMPLER": comfy.samplers.ksampler("euler"), "NOISE": Noise_RandomNoise(0), "VAE": None,
        "GUIDER": CFGGuider.execute(model, condition, condition, 2.0).result[0],
    }  # fmt: skip

    def values(node):
        values = {}
        for item in pack[node].define_schema().inputs:
            kind = item.get_io_type().split(",")[0]
            values[item.id] = wires[kind] if kind in wires else _widget(item)
        if node.startswith("RESGDDIM") and "model" in values:
            values["model"] = cld
        return values

    return values


@pytest.fixture
def check(pack, module):
    """check(node, values): the check at the start of its `execute`."""
    return lambda node, values: module("nodes.inputs").read_inputs(pack[node].define_schema().inputs, values)


def _ways(value, hostile):
    """Ways to put a bad value instead of a value or one of its parts."""
    yield hostile
    if isinstance(value, dict) and "samples" not in value:
        for key in value:
            yield {**value, key: hostile}


def test_every_node_checks_its_inputs_first(pack, valid):
    for node in pack:
        values = valid(node)
        for name in values:
            for wrong in _ways(values[name], object()):
                begun = time.monotonic()
                with pytest.raises(ValueError, match=f"^{name}(\\.\\w+)? must be .*; got a|^{name}(\\.\\w+)? must be .*, got a"):
                    pack[node].execute(**{**values, name: wrong})
                assert time.monotonic() - begun < 1.0, (node, name)


def test_hostile_values_are_taken_or_refused_by_name(pack, valid, check):
    for node in pack:
        values = valid(node)
        check(node, values)
        for name in values:
            for hostile in HOSTILE:
                for wrong in _ways(values[name], hostile):
                    try:
                        check(node, {**values, name: wrong})
                    except ValueError as error:
                        assert str(error).startswith(name) and len(str(error)) < 1000, (node, name, str(error)[:200])


# the others are slow with some values that their checks let through
QUICK = set(json.loads(SNAPSHOT.read_text(encoding="utf-8"))["nodes"]) - {"RESLabCalibrate", "RESLabMeasure"}


@pytest.mark.parametrize("node", sorted(QUICK))
def test_hostile_values_end_in_no_other_error(pack, valid, node):
    """This includes values that the check of types and limits cannot find; the node's error is a sentence."""
    values = valid(node)
    for name in values:
        for hostile in HOSTILE:
            for wrong in _ways(values[name], hostile):
                try:
                    pack[node].execute(**{**values, name: wrong})
                except (ValueError, FileNotFoundError) as error:
                    assert 10 < len(str(error)) < 1000, (name, error)


_NOTHING = {"samples": torch.zeros(0, 1, 8, 8)}
_REFUSED = {
    "method must be one of exp_res, 2m, 2s, 3s; got '4s'": ("RESSDE", ("4s", 1.0, 1.0)),
    "method must be one of exp_res, 2m, 2s, 3s; got a list": ("RESSDE", ([], 1.0, 1.0)),
    "solver must be one of exp_res, .*; got 'euler'": ("RESStochasticChurn", ("euler", 5.0, 0.0, 100.0, 1.0)),
    "interpolation must be one of alpha, lambda; got 3": ("RESMultistep", (2, True, {"interpolation": 3})),
    "stages must be one of 2, 3; it is missing, or none of them": ("RESSingleStep", ()),
    "axis must be one of auto, logSNR, sigma; got None": ("RESSigmasPlot", (torch.ones(2), None, None, None, None, None)),
    "data must be one of emoji, digits; got 'photos'": ("RESToyModel", ("photos", {"kind": "eps"}, 0.1)),
    "data must be one of emoji, digits; got None": ("RESToyLatent", (None, 1)),
    "data must be one of emoji, digits; got 'faces'": ("RESToyCondition", ({"data": "faces", "class": "any"},)),
    "data.class must be one of any, 0, .*; got '10'": ("RESToyCondition", ({"data": "digits", "class": "10"},)),
    "data.class must be one of any, faces, .*; got '7'": ("RESToyCondition", ({"data": "emoji", "class": "7"},)),
    "batch_size must be a whole number from 1 to 4096, got 2.0": ("RESToyLatent", ("digits", 2.0)),
    "samples must have the shape .* for emoji or .* for digits": ("RESToyDecode", ({"samples": torch.zeros(1, 4, 8, 8)}, 3, 40)),
    "columns .* got an integer of 1329 bits": ("RESToyDecode", ({"samples": _DIGIT}, 10**400, 64)),
    "samples must be a LATENT with one picture or more, got a dict": ("RESToyDecode", (_NOTHING, 8, 64)),
    "eta must be a number from 0 to 10, got nan": ("RESSDE", ("2m", math.nan, 1.0)),
    "columns must be a whole number from 1 to 64, got 0": ("RESToyDecode", ({"samples": _DIGIT}, 0, 64)),
    "max_calls must be a whole number from 4 to 10000, got True": ("RESAdaptive", (0.05, 0.01, True)),
    "max_calls must be a whole number from 4 to 10000, got 3": ("RESAdaptive", (0.05, 0.01, 3)),
    "rtol must be a number from 1e-05 to 1, got 0.0": ("RESAdaptive", (0.0, 0.01, 60)),
    "atol must be a number from 1e-05 to 1, got -1.0": ("RESAdaptive", (0.05, -1.0, 60)),
    "width must be a number from 0.01": ("RESToyModel", ("digits", {"kind": "eps"}, -0.1)),
    "shift must be a number from 0.01": ("RESToyModel", ("digits", {"kind": "flow", "shift": -1.0}, 0.1)),
}  # fmt: skip


@pytest.mark.parametrize("message", _REFUSED)
def test_what_is_refused_is_named(pack, message):
    node, values = _REFUSED[message]
    with pytest.raises(ValueError, match=message):
        pack[node].execute(*values)


def test_a_whole_number_is_the_choice_that_is_written_like_it(pack):
    written, counted = (pack["RESToyCondition"].execute({"data": "digits", "class": c}).result[0][0][0] for c in ("7", 7))
    assert torch.equal(written, counted) and written.sum() == 1.0
    assert pack["RESSingleStep"].execute({"stages": 2, "c2": 0.5}).result


def test_parameters_of_a_choice_have_defaults(pack):
    default, named = ({"data": "digits", **choice} for choice in ({}, {"class": "any"}))
    assert torch.equal(*(pack["RESToyCondition"].execute(data).result[0][0][0] for data in (default, named)))


def test_on_a_server_by_wire(server):
    run, graph = graph_of()
    multistep = {"order": "2", "interpolation": "lambda", "corrector": ["value", 0]}
    graph["value"] = {"class_type": "TestAnything", "inputs": {"value": "4_000_000_000"}}
    graph["sampler"] = {"class_type": "RESMultistep", "inputs": multistep}
    graph["sigmas"] = {"class_type": "TestSigmas", "inputs": {"values": "10 1 0"}}
    graph["sample"] = custom_node(1.0)
    message = execution_error(server, lambda: report(server, run, graph, ["sample", 0]))
    assert "corrector must be true or false, got 4000000000" in message
