"""What the pack needs from the host: the kind of a model, the range of its sigmas, the server, and texts in nodes."""

import logging
import math

import comfy.model_sampling as ms
import torch
from comfy_execution.utils import get_executing_context

from ..samplers.model_kinds import range_of_table
from ..samplers.schedules import SigmaRange
from ..samplers.time_maps import FLOW, VE, TimeMap

# Classes that newer hosts add are looked up by name.
_VE_KINDS = tuple(getattr(ms, name) for name in ("EPS", "V_PREDICTION_DDPM", "COSMOS_RFLOW") if hasattr(ms, name))


class OtherProcess:
    """Base of a model_sampling whose noise is not the same in every direction, with its own samplers and without a sigma."""

    def sample(self, name: str, model, x, sigmas, extra_args, callback, disable, **options):
        """The sampler of this name on the process, a ValueError if there is none; other arguments as in `loop.run`."""
        raise NotImplementedError

    def no_sigma(self) -> str:
        """A message why other schedules and samplers do not work, and what to use instead."""
        raise NotImplementedError


def prompt_server():
    """The host's server; None if the host runs without one, as in scripts and tests."""
    try:
        from server import PromptServer  # noqa: PLC0415 (there is none without a server)
    except ImportError:
        return None
    return getattr(PromptServer, "instance", None)


def send_text(text: str, node) -> None:
    """Show a text on a node while it runs, if the host can; `node` is its id, None outside of a prompt."""
    server = prompt_server()
    # without a client the host would send it to all clients
    if node is not None and getattr(server, "client_id", None) is not None:
        server.send_progress_text(text, node, server.client_id)


def warn(text: str) -> None:
    """Warn in the console and in the node that runs, such as the KSampler that calls a sampler of this pack."""
    logging.warning("ComfyUI-RES: %s", text)
    context = get_executing_context()
    send_text(f"Warning: {text}", context and context.node_id)


def model_sampling_of(model):
    """The host's model_sampling behind the denoiser a sampler is called with; a ValueError if the denoiser is not the host's."""
    try:
        return model.inner_model.model_patcher.get_model_object("model_sampling")
    except AttributeError:
        raise ValueError(
            f"model is a {type(model).__name__} without ComfyUI's model_sampling, so its kind of noise is unknown. "
            "Call the functions of the pack's samplers/ folder with time=VE or time=FLOW instead."
        ) from None


def time_map(model_sampling) -> TimeMap:
    """`FLOW` with the model's noise scale for rectified flow, `VE` for every model with x = x0 + sigma n.

    Subclasses of CONST without noise, such as IMG_TO_IMG_FLOW, go from image to image; their straight path to the denoised output
    is VE's.

    Raises:
        ValueError: the kind of model_sampling is unknown, or its noise has the size 0.
    """
    if isinstance(model_sampling, OtherProcess):
        raise ValueError(model_sampling.no_sigma())
    if isinstance(model_sampling, _VE_KINDS):
        return VE
    if isinstance(model_sampling, ms.CONST):
        noise_scale = float(getattr(model_sampling, "noise_scale", 1.0))
        if not 0.0 < noise_scale < math.inf:
            raise ValueError(
                f"model has a noise_scale of {noise_scale:g}, but its noise must have a size above 0. Set it to 1 for none."
            )
        return FLOW.scaled(noise_scale) if _adds_noise(model_sampling) else VE
    kinds = ", ".join(c.__name__ for c in type(model_sampling).__mro__[:-1] if c.__module__ != "torch.nn.modules.module")
    raise ValueError(
        f"model_sampling is of an unknown kind ({kinds}); RES needs to know how the model adds noise. "
        "Use a sampler of ComfyUI for this model, or report the model to the pack."
    )


def _adds_noise(model_sampling) -> bool:
    """Whether sampling starts from noise, and not from a latent as it is."""
    nothing = torch.zeros(1, 1, 1, 1)
    return bool(model_sampling.noise_scaling(torch.tensor([0.5]), nothing + 1.0, nothing).any())


def check_holds_noise(model_sampling) -> None:
    """Raise a ValueError for models without noise, on which an SDE has no meaning."""
    if isinstance(model_sampling, ms.CONST) and not _adds_noise(model_sampling):
        kind = next(c.__name__ for c in type(model_sampling).__mro__ if "noise_scaling" in vars(c))
        raise ValueError(
            f"model_sampling is {kind}, which goes from image to image without noise, so a sampler that adds noise is wrong for "
            "it. Use a deterministic one, such as exp_res_2m."
        )


def check_no_cache(name: str, extra_args: dict) -> None:
    """Raise a ValueError if the model has the host's EasyCache or LazyCache, for a sampler that measures its own error.

    The caches answer some calls with the change of an earlier call, which hides the error of a step. They also expect sigmas
    that only fall, and raise a TypeError when a step is tried again from above their start_percent.
    """
    cache = extra_args.get("model_options", {}).get("transformer_options", {}).get("easycache")
    if cache is not None:
        cache = getattr(cache, "name", "EasyCache")
        raise ValueError(
            f"model has {cache}, which answers calls with earlier outputs, so {name} could not measure the error by which it "
            f"chooses its steps. Remove {cache}, or take a sampler of fixed steps, such as exp_res."
        )


def check_answers_for_one_sigma(model) -> None:
    """Raise a ValueError for MeanFlow networks (distilled HunyuanImage 2.1 and HunyuanVideo 1.5 SR).

    These networks also get the next sigma of SIGMAS and give the mean over the step, which makes Euler exact. At sigmas between
    grid points the host gives them no next sigma, and a sampler that combines such means like values makes an error.
    """
    network = getattr(getattr(model.inner_model, "inner_model", None), "diffusion_model", None)
    if getattr(network, "time_r_in", None) is None:
        return
    conditions = [c["model_conds"] for group in model.inner_model.conds.values() for c in group]
    if not all("disable_time_r" in c and c["disable_time_r"].cond for c in conditions):
        raise ValueError(
            "model is a MeanFlow network, which answers with the mean over a whole step. A solver of higher order takes that "
            "for the value at one sigma and is wrong for it. Use euler, which is exact for such models."
        )


def sigma_range(model_sampling) -> SigmaRange:
    """The model's smallest and largest sigma, its timesteps and its shift, on flow models s at half of the timesteps."""
    time = time_map(model_sampling)
    shift = FLOW.s(float(model_sampling.percent_to_sigma(0.5))) if time.is_like(FLOW) else 1.0
    return range_of_table(model_sampling.sigmas.cpu().double().numpy(), time, shift)
