"""The emoji networks of training/ as worlds: as rough as the models of users."""

from functools import lru_cache

import torch

from training import networks


class Guided:
    """A network (its MODEL is `patcher`) with guidance towards one class per item, called through ComfyUI's model class.

    Raises:
        FileNotFoundError: its weights are missing.
    """

    def __init__(self, name: str, guidance: float, asked: torch.Tensor):
        network = networks.NETWORKS[name]
        self.shape, self._guidance, self._parts = network.shape, guidance, 1 if guidance == 1.0 else 2
        self.patcher = load(name)
        nothing = torch.full_like(asked, network.no_class)
        conditions = [networks.conditioning(network, classes)[0] for classes in (asked, nothing)[: self._parts]]
        noise = torch.zeros(1, *self.shape)
        common = {"noise": noise, "device": torch.device("cpu")}
        made = [self.patcher.model.extra_conds(cross_attn=token, **common, **more) for token, more in conditions]
        self._conditions = {name: torch.cat([part[name].cond for part in made]) for name in made[0]}

    def __call__(self, x: torch.Tensor, sigma: float, alpha: float = 1.0) -> torch.Tensor:
        """The denoised output, float32 inside."""
        states = x.float().repeat(self._parts, *[1] * (x.ndim - 1))
        sigmas = torch.full((len(states),), sigma)
        denoised = self.patcher.model.apply_model(states, sigmas, **self._conditions).chunk(self._parts)
        return torch.lerp(denoised[-1], denoised[0], self._guidance).to(x.dtype)


@lru_cache(maxsize=1)
def load(name: str):
    """A MODEL on the CPU.

    Raises:
        FileNotFoundError: its weights are missing.
    """
    import comfy.model_management

    network = networks.NETWORKS[name]
    if not network.file.is_file():
        raise FileNotFoundError(f"{network.file} is missing: python -m training {name} makes it; or choose others with --cases.")
    patcher = networks.load(name)
    comfy.model_management.load_models_gpu([patcher])
    return patcher
