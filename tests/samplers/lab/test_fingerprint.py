"""Equal things have equal fingerprints, and different things have different ones."""

import cmath
import collections
import functools
import math
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
import torch

from samplers.lab.fingerprint import fingerprint, unseen, weights_fingerprint


def _scaled(factor):
    return lambda x: factor * x


class _Thing:
    def __init__(self, value):
        self.value, self.uuid = value, object()


def _module(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Linear(3, 4)


class _Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


def _config(strength):
    module = types.ModuleType("other_pack.config")
    module.STRENGTH = strength
    return module


def _based_on(kind):
    class Made(kind):
        pass

    return Made()


def _scaled_module(scale):
    module = _module(0)
    module.scale = scale
    return module


def _patch_of(value):
    """A mask of a megapixel that is `value` in a rectangle: most of its rows and columns are equal."""
    mask = torch.zeros(1, 1024, 1024)
    mask[:, 300:500, 300:500] = value
    return mask


def _chain(length, value):
    thing = _Thing(value)
    for _ in range(length):
        thing = _Thing(thing)
    return thing


def _in_no_file(source):
    return types.FunctionType(compile(source, "typed", "eval").co_consts[0], {})


PAIRS = [
    (1, 1.0), (1, "1"), (1, True), ("a", b"a"), (None, 0), ((1, 2), [1, 2]), ((1, (2,)), (1, 2)), ({"a": 1}, {"a": 2}),
    ({"a": 1}, {"b": 1}), (torch.zeros(2), torch.zeros(3)), (torch.zeros(2), torch.zeros(2).double()),
    (torch.zeros(70_000), torch.ones(70_000)), (np.zeros(2), np.ones(2)), (_scaled(1.0), _scaled(2.0)),
    (functools.partial(_scaled, 1), functools.partial(_scaled, 2)), (_Thing(1), _Thing(2)), (_module(0), _module(1)),
    (_Thing, _module), (_Thing(1).__init__, _Thing(2).__init__), ({1, 2}, {1, 3}), ({1: 0}, {"1": 0}), (range(3), range(4)),
    (_Slotted(1), _Slotted(2)), (collections.deque([1]), collections.deque([2])), (torch.sin, torch.cos), (math, cmath),
    (pathlib.PurePath("a"), pathlib.PurePath("b")), (_in_no_file("lambda x: 2 * x"), _in_no_file("lambda x: 3 * x")),
    (_based_on(int), _based_on(float)), (_scaled_module(1.0), _scaled_module(2.0)), (_patch_of(0.0), _patch_of(1.0)),
    (_chain(12, 0), _chain(12, 1)),
]  # fmt: skip


@pytest.mark.parametrize("one, other", PAIRS, ids=range(len(PAIRS)))
def test_differs(one, other):
    assert fingerprint(one) == fingerprint(one)
    assert fingerprint(one) != fingerprint(other)


def test_equal_things_made_twice():
    def make():
        cycle = [1]
        cycle.append(cycle)
        parts = {"b": _Thing(torch.arange(5.0)), "a": _scaled(3.0), "c": {3, 1, 2}, "d": _module(0)}
        return parts, cycle, functools.partial(_scaled, factor=2)

    assert fingerprint(*make()) == fingerprint(*make())
    thing = [1, 2]
    assert fingerprint([thing, thing]) == fingerprint([[1, 2], [1, 2]]), "a thing that occurs twice counts twice"


def _printed(code, *arguments, **environment):
    """What Python code prints in a process of its own."""
    command = [sys.executable, "-c", f"from samplers.lab.fingerprint import fingerprint as of; {code}", *arguments]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


def test_the_same_in_another_process():
    """Nothing depends on addresses, on the seed of hashes, or on the order in which sets were filled."""
    code = "from test_fingerprint import _Thing, _scaled, _module; print(of(_Thing({'x', 'y', 'z'}), _scaled(2.0), _module(3)))"
    first, second = (_printed(code, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first == second and len(first[0]) == 64


def test_the_code_that_another_pack_calls(tmp_path):
    """The file of the patch is unchanged and another file of its folder changes, for a function and for an object."""
    sessions = []
    for number in ("1", "1", "2"):
        folder = tmp_path / f"session{len(sessions)}" / "pack"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("from .helper import K\ndef sample(x): return K * x\nclass Sampler: pass")
        (folder / "helper.py").write_text(f"K = {number}")
        code = "import sys; sys.path.insert(0, sys.argv[1]); import pack; print(of(pack.sample), of(pack.Sampler()))"
        sessions.append(_printed(code, str(folder.parent)))
    for first, again, changed in zip(*sessions, strict=True):
        assert first == again != changed
    assert len(sessions[0]) == 2


def test_weights_of_any_kind():
    weights = {"a": torch.randn(300, 300).half(), "b": torch.zeros(0), "c": torch.empty(4, device="meta")}
    name = weights_fingerprint(weights.items())
    assert weights_fingerprint(reversed(list(weights.items()))) == name
    assert weights_fingerprint({**weights, "a": weights["a"] * 1.01}.items()) != name
    assert weights_fingerprint({**weights, "c": torch.empty(5, device="meta")}.items()) != name


def _of_a_pack(source, **read):
    """The function `patch` of a module of another pack, with its globals."""
    module = {"__name__": "other_pack", **read}
    exec(source, module)  # noqa: S102 (the sources are below)
    return module["patch"]


_READS = {
    "a number": "def patch(args): return STRENGTH * args",
    "a dictionary": "def patch(args): return SETTINGS['of']['k'] * args",
    "a tensor": "def patch(args): return MASK * args",
    "inside another function": "def patch(args): return (lambda: STRENGTH * args)()",
    "by a function beside it": "def scale(x): return STRENGTH * x\ndef patch(args): return scale(args)",
    "of a module": "def patch(args): return config.STRENGTH * args",
    "by an object that is called": "class Patch:\n    def __call__(self, args): return STRENGTH * args\npatch = Patch()",
}


@pytest.mark.parametrize("name", _READS)
def test_globals_that_a_patch_reads_count(name):
    def of(value, other=0.0):
        read = {"STRENGTH": value, "SETTINGS": {"of": {"k": [value]}}, "MASK": torch.full((3,), value), "config": _config(value)}
        return fingerprint(_of_a_pack(_READS[name], OTHER=other, **read))

    assert of(1.0) == of(1.0) != of(2.0)
    assert of(1.0, other=1.0) == of(1.0, other=2.0), "it reads none"


def test_what_a_patch_reads_and_is_not_seen_is_named():
    def patcher(patch):
        return types.SimpleNamespace(model_options={"sampler_post_cfg_function": [patch]}, patches={}, backup={}, model=None)

    source = "def patch(args): return STATE.value * args"
    assert unseen(patcher(_of_a_pack(source, STATE=_Thing(1)))) == ["patch reads STATE"]
    assert unseen(patcher(_of_a_pack(source, STATE=1.0))) == []
    assert unseen(patcher(_scaled(2.0))) == []
