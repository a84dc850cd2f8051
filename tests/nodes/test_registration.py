"""Samplers and schedulers are appended to the host's lists, and nothing of the host's or another pack's is touched."""

import functools

import pytest

from samplers.catalogue import ADAPTIVE_SAMPLERS
from samplers.catalogue import SAMPLERS as ON_THE_GRID

SAMPLERS = ON_THE_GRID | ADAPTIVE_SAMPLERS
SCHEDULERS = ("logsnr_uniform", "logsnr_arctan")


@pytest.fixture
def registry(module):
    return module("nodes.registry")


def test_names_are_appended(pack):
    """They are appended, because the host uses the first name of the list for unknown names."""
    from comfy.samplers import KSampler

    assert KSampler.SAMPLERS[0] == "euler" and KSampler.SAMPLERS[-len(SAMPLERS) :] == list(SAMPLERS)
    assert KSampler.SCHEDULERS[-len(SCHEDULERS) :] == list(SCHEDULERS)


def test_second_registration_changes_nothing(registry):
    import comfy.k_diffusion.sampling as k_diffusion_sampling
    from comfy.samplers import KSampler

    def state():
        return [*KSampler.SAMPLERS], [*KSampler.SCHEDULERS], dict(vars(k_diffusion_sampling))

    before = state()
    registry.register_all()
    assert state() == before


def test_a_name_of_another_pack_is_left_alone(registry, monkeypatch, caplog):
    import comfy.k_diffusion.sampling as k_diffusion_sampling
    import comfy.samplers

    theirs = object()
    monkeypatch.setattr(k_diffusion_sampling, "sample_exp_theirs", theirs, raising=False)
    monkeypatch.setitem(comfy.samplers.SCHEDULER_HANDLERS, "theirs", comfy.samplers.SchedulerHandler(theirs))
    assert not registry.register_sampler("exp_theirs", lambda: None)
    assert not registry.register_scheduler("theirs", lambda: None)
    assert k_diffusion_sampling.sample_exp_theirs is theirs
    assert comfy.samplers.SCHEDULER_HANDLERS["theirs"].handler is theirs
    assert "exp_theirs" not in comfy.samplers.KSampler.SAMPLERS
    assert "exp_theirs" in caplog.text


class _Callable:
    def __init__(self, function):
        self.__wrapped__ = function

    def __call__(self):
        """Only the wrapper is looked at."""


def _closure(function):
    return lambda value: [function(value)]


class _Loud:
    """Raises for attributes that it does not have."""

    def __init__(self, function):
        self._function = function

    def __call__(self):
        """Only the wrapper is looked at."""

    def __getattr__(self, name):
        raise RuntimeError(name)


class _Named(_Callable):
    func = "exp_res_2m"


def _method(function):
    return _Callable(function).__call__


def _deep(function):
    for _ in range(20):
        function = functools.partial(function) if isinstance(function, _Callable) else _Callable(function)
    return function


WRAPS = [functools.partial, functools.lru_cache, _Callable, _closure, _Loud, _Named, _method, _deep]


@pytest.mark.parametrize("wrap", WRAPS, ids=lambda wrap: wrap.__name__)
def test_a_name_comes_back_whatever_another_pack_wraps_around_it(registry, host, monkeypatch, wrap):
    """This holds also if that pack has replaced the list, and the name is bound to the wrapper."""
    import comfy.k_diffusion.sampling as k_diffusion_sampling
    import comfy.samplers

    wrapper = wrap(k_diffusion_sampling.sample_exp_res_2m)
    monkeypatch.setattr(k_diffusion_sampling, "sample_exp_res_2m", wrapper)
    monkeypatch.setattr(comfy.samplers.KSampler, "SAMPLERS", ["euler", "theirs"])
    registry.register_all()
    assert comfy.samplers.KSampler.SAMPLERS == ["euler", "theirs", *SAMPLERS]
    assert k_diffusion_sampling.sample_exp_res_2m is wrapper


@pytest.mark.parametrize("wrap", [functools.partial, _Callable, _closure])
def test_a_scheduler_comes_back_too(registry, host, monkeypatch, wrap):
    import comfy.samplers

    handler = comfy.samplers.SCHEDULER_HANDLERS["logsnr_arctan"]
    for theirs in (handler._replace(handler=wrap(handler.handler)), wrap(handler.handler)):
        monkeypatch.setitem(comfy.samplers.SCHEDULER_HANDLERS, "logsnr_arctan", theirs)
        monkeypatch.setattr(comfy.samplers.KSampler, "SCHEDULERS", ["simple", "theirs"])
        registry.register_all()
        assert comfy.samplers.KSampler.SCHEDULERS == ["simple", "theirs", *SCHEDULERS]
        assert comfy.samplers.SCHEDULER_HANDLERS["logsnr_arctan"] is theirs


@pytest.mark.parametrize("names", [("euler",), {"euler": 1}.keys(), None], ids=["tuple", "keys", "None"])
def test_a_list_that_is_none_any_more_costs_its_names_only(registry, host, monkeypatch, caplog, names):
    """The pack still loads, and the other lists are complete."""
    import comfy.samplers

    registry._warn_once.cache_clear()
    monkeypatch.setattr(comfy.samplers.KSampler, "SAMPLERS", names)
    monkeypatch.setattr(comfy.samplers.KSampler, "SCHEDULERS", ["simple"])
    registry.register_all()
    assert comfy.samplers.KSampler.SAMPLERS is names and comfy.samplers.KSampler.SCHEDULERS == ["simple", *SCHEDULERS]
    assert f"has replaced a list of names by a {type(names).__name__}" in caplog.text
