"""What samplers with CFG++ need from the host: the guided and the unconditional output of one model call."""

import comfy.model_patcher
import comfy.samplers

from .host import warn

_STRONGEST = 3.0  # largest CFG without a warning; at 20 steps 1 is about as strong as 3 without CFG++, see samplers/cfg_pp.py
_REMEDY = "Sample with CFG and a negative conditioning (KSampler, SamplerCustom, CFGGuider), or take a sampler without cfg_pp."
# class of a guider of the host -> its description, and why it has no unconditional output for CFG++
_UNSUITED = {
    "Guider_DualCFG": "DualCFGGuider with style nested, which guides by cond2 first and has no one unconditional output for it",
    "Guider_DualModel": "DualModelGuider, which asks a second model for the negative and shows its output to no one",
}


class GuidedAndUnconditional:
    """The host's denoiser as one that returns (guided, unconditional).

    The host gives the unconditional output to post-CFG functions, and computes it at CFG 1 if such a function requests it. With
    a noise mask the host returns mask * guided + (1 - mask) * latent. The second term is added to the unconditional output as
    well. If a wrapper of another pack hides the latent, this term is the difference between the result and mask * guided.

    Args:
        model: the denoiser a sampler of the host is called with.
        extra_args: its keyword arguments, which are not changed.

    Attributes:
        extra_args: the keyword arguments to call this object with.
        noise: the host's initial noise.

    Raises:
        ValueError: the guider has no negative conditioning, or its unconditional output is not available.
    """

    def __init__(self, model, extra_args: dict):
        guider = model.inner_model
        kinds = [kind.__name__ for kind in type(guider).__mro__ if kind.__name__ in _UNSUITED]  # other packs derive from them
        if kinds and getattr(guider, "nested", True):
            raise ValueError(f"the guider is {_UNSUITED[kinds[0]]}. {_REMEDY}")
        stock = getattr(type(guider), "predict_noise", None) is comfy.samplers.CFGGuider.predict_noise
        if stock and not guider.conds.get("negative"):
            raise ValueError(f"the guider has no negative conditioning, which a sampler with CFG++ needs. {_REMEDY}")
        if isinstance(cfg := getattr(guider, "cfg", None), (int, float)) and cfg > _STRONGEST:
            warn(f"cfg is {cfg:g}, which is very strong for a sampler with CFG++; take 0.5 to 1.5.")
        self.noise = getattr(model, "noise", None)
        self._model, self._guided, self._unconditional, self._mask = model, None, None, None
        options = dict(extra_args.get("model_options", {}))
        options["denoise_mask_function"] = self._mask_function(options.get("denoise_mask_function"))
        options = comfy.model_patcher.set_model_options_post_cfg_function(options, self._keep, disable_cfg1_optimization=True)
        self.extra_args = {**extra_args, "model_options": options}

    def __call__(self, x, sigma, **extra_args):
        """(guided, unconditional), each shaped like x; a ValueError if the guider computed no unconditional output."""
        returned = self._model(x, sigma, **extra_args)
        guided, self._guided = self._guided, None
        unconditional, self._unconditional = self._unconditional, None
        if unconditional is None:
            raise ValueError(
                "the model gave no unconditional output, which a sampler with CFG++ needs at every call: the guider has no "
                f"negative conditioning, or a cache such as LazyCache skipped the call. {_REMEDY}"
            )
        if self._mask is not None:
            latent = getattr(self._model, "latent_image", None)
            kept = returned - guided * self._mask if latent is None else latent * (1.0 - self._mask)
            unconditional = unconditional * self._mask + kept
        return returned, unconditional

    def _keep(self, args):
        self._guided, self._unconditional = args["denoised"], args["uncond_denoised"] if args["uncond"] else None
        return args["denoised"]

    def _mask_function(self, inner):
        """A function that the host calls for the mask of every call; the mask is kept."""

        def mask(sigma, denoise_mask, extra_options):
            self._mask = denoise_mask if inner is None else inner(sigma, denoise_mask, extra_options=extra_options)
            return self._mask

        return mask
