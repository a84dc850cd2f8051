"""The real ComfyUI in this process: its deterministic samplers by name, nodes, and what a sampler gets as a model."""

from collections.abc import Callable
from types import SimpleNamespace

import torch

from testbed.in_process import load, loaded

# name -> (sampler of comfy.k_diffusion.sampling, options that make it deterministic)
DETERMINISTIC = {
    **{name: (name, {}) for name in ("euler", "heun", "heunpp2", "exp_heun_2_x0", "dpm_2", "lms")},
    "dpmpp_2s (eta 0)": ("dpmpp_2s_ancestral", {"eta": 0.0}),
    "dpmpp_sde (eta 0)": ("dpmpp_sde", {"eta": 0.0, "s_noise": 0.0}),
    "dpmpp_2m": ("dpmpp_2m", {}),
    "dpmpp_2m_sde (eta 0)": ("dpmpp_2m_sde", {"eta": 0.0, "s_noise": 0.0}),
    "dpmpp_2m_sde_heun (eta 0)": ("dpmpp_2m_sde", {"eta": 0.0, "s_noise": 0.0, "solver_type": "heun"}),
    "dpmpp_3m_sde (eta 0)": ("dpmpp_3m_sde", {"eta": 0.0, "s_noise": 0.0}),
    **{name: (name, {}) for name in ("ipndm", "ipndm_v", "deis", "res_multistep", "gradient_estimation")},
    "er_sde (ODE)": ("er_sde", {"s_noise": 0.0, "noise_scaler": lambda x: x}),
    "seeds_2 (eta 0)": ("seeds_2", {"eta": 0.0, "s_noise": 0.0}),
    "seeds_3 (eta 0)": ("seeds_3", {"eta": 0.0, "s_noise": 0.0}),
    "sa_solver (eta 0)": ("sa_solver", {"tau_func": lambda sigma: 0.0, "s_noise": 0.0}),
    "sa_solver_pece (eta 0)": ("sa_solver_pece", {"tau_func": lambda sigma: 0.0, "s_noise": 0.0}),
    **{name: (name, {}) for name in ("uni_pc", "uni_pc_bh2")},
}
# settings of our nodes that have no registered name: (order, corrector, interpolation)
_VP = {"interpolation": "alpha", "data_scale": 1.5, "power": 2.0, "eps_share": 0.0}
NODE_FORMS = {"Multistep 4, VP alpha": (4, True, _VP)}


def pack(module: str):
    """A module of the pack's `nodes`, as ComfyUI has loaded it."""
    load()
    return loaded(module)


def known(name: str) -> bool:
    """Whether `sampler` knows this name."""
    load()
    import comfy.samplers

    return any(name in names for names in (NODE_FORMS, pack("samplers").METHODS, DETERMINISTIC, comfy.samplers.SAMPLER_NAMES))


def node(name: str, *inputs) -> tuple:
    """The outputs of a node of the pack."""
    load()
    import nodes

    return nodes.NODE_CLASS_MAPPINGS[name].execute(*inputs).result


def sampler(name: str):
    """A SAMPLER by name: a key of DETERMINISTIC, NODE_FORMS or METHODS, or any name that ComfyUI has registered."""
    load()
    import comfy.samplers

    if name in NODE_FORMS:
        return node("RESMultistep", *NODE_FORMS[name])[0]
    if name in (methods := pack("samplers").METHODS):
        return comfy.samplers.KSAMPLER(pack("registry").for_host(methods[name]))
    function, options = DETERMINISTIC.get(name, (name, {}))
    return comfy.samplers.ksampler(function, options) if options else comfy.samplers.sampler_object(function)


class Denoiser:
    """A model as ComfyUI passes it to a sampler, with the model's sigmas where samplers look for them.

    Args:
        answer: `answer(x, sigma)`, the denoised output; sigma is (batch,).
        model_sampling: ComfyUI's ModelSampling object.

    Attributes:
        calls: number of calls so far.
    """

    def __init__(self, answer: Callable, model_sampling):
        self._answer, self.calls = answer, 0
        inner = SimpleNamespace(model_sampling=model_sampling)
        patcher = SimpleNamespace(get_model_object=lambda name: model_sampling, model=inner, model_options={})
        self.inner_model = SimpleNamespace(
            inner_model=inner, model_patcher=patcher, model_sampling=model_sampling, model_options={}, cfg=1.0
        )

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, **kwargs) -> torch.Tensor:
        self.calls += 1
        return self._answer(x, sigma)
