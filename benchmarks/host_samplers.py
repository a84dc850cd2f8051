"""The real ComfyUI in this process, and its deterministic samplers by name."""

from testbed.in_process import load, loaded

# name -> (sampler of comfy.k_diffusion.sampling, options that make it deterministic)
DETERMINISTIC = {
    "euler": ("euler", {}),
    "heun": ("heun", {}),
    "heunpp2": ("heunpp2", {}),
    "exp_heun_2_x0": ("exp_heun_2_x0", {}),
    "dpm_2": ("dpm_2", {}),
    "lms": ("lms", {}),
    "dpmpp_2s (eta 0)": ("dpmpp_2s_ancestral", {"eta": 0.0}),
    "dpmpp_sde (eta 0)": ("dpmpp_sde", {"eta": 0.0, "s_noise": 0.0}),
    "dpmpp_2m": ("dpmpp_2m", {}),
    "dpmpp_2m_sde (eta 0)": ("dpmpp_2m_sde", {"eta": 0.0, "s_noise": 0.0}),
    "dpmpp_2m_sde_heun (eta 0)": ("dpmpp_2m_sde", {"eta": 0.0, "s_noise": 0.0, "solver_type": "heun"}),
    "dpmpp_3m_sde (eta 0)": ("dpmpp_3m_sde", {"eta": 0.0, "s_noise": 0.0}),
    "ipndm": ("ipndm", {}),
    "ipndm_v": ("ipndm_v", {}),
    "deis": ("deis", {}),
    "res_multistep": ("res_multistep", {}),
    "gradient_estimation": ("gradient_estimation", {}),
    "er_sde (ODE)": ("er_sde", {"s_noise": 0.0, "noise_scaler": lambda x: x}),
    "seeds_2 (eta 0)": ("seeds_2", {"eta": 0.0, "s_noise": 0.0}),
    "seeds_3 (eta 0)": ("seeds_3", {"eta": 0.0, "s_noise": 0.0}),
    "sa_solver (eta 0)": ("sa_solver", {"tau_func": lambda sigma: 0.0, "s_noise": 0.0}),
    "sa_solver_pece (eta 0)": ("sa_solver_pece", {"tau_func": lambda sigma: 0.0, "s_noise": 0.0}),
    "uni_pc": ("uni_pc", {}),
    "uni_pc_bh2": ("uni_pc_bh2", {}),
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
    import comfy.k_diffusion.sampling as k_diffusion_sampling

    ours = name in NODE_FORMS or name in pack("samplers").METHODS
    return ours or name in DETERMINISTIC or hasattr(k_diffusion_sampling, f"sample_{name}")


def sampler(name: str):
    """A SAMPLER by name: a key of DETERMINISTIC, NODE_FORMS or METHODS, or any name that ComfyUI has registered."""
    load()
    import comfy.k_diffusion.sampling as k_diffusion_sampling
    import comfy.samplers

    import nodes

    if name in NODE_FORMS:
        return nodes.NODE_CLASS_MAPPINGS["RESMultistep"].execute(*NODE_FORMS[name]).result[0]
    if name in (methods := pack("samplers").METHODS):
        return comfy.samplers.KSAMPLER(pack("registry").for_host(methods[name]))
    function, options = DETERMINISTIC.get(name, (name, {}))
    if function in ("uni_pc", "uni_pc_bh2"):
        return comfy.samplers.sampler_object(function)
    return comfy.samplers.KSAMPLER(getattr(k_diffusion_sampling, f"sample_{function}"), options)
