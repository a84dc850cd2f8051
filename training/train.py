"""How the networks of the host's own architectures are trained on the digits.

Plain recipe: AdamW, cosine learning rate, exponential moving average of the weights, class dropped in one of eight.
It ends with the loss of the averaged weights, with the class told, withheld and told wrongly.
"""

import argparse
import math
import time
from pathlib import Path

import torch

from benchmarks import host
from benchmarks.pages import OUTPUT
from embedded.digits import digits

from .networks import NETWORKS, NO_CLASS, Network, build, conditioning, state_dict, to_latent

STEPS = {"sd3": 30000, "unet": 5000}
BATCH = 64
LEARNING_RATE = 2e-3
DROP_CLASS = 0.125
AVERAGE = 0.999


def noised(network: Network, model, clean: torch.Tensor, generator: torch.Generator):
    """Network input, its timestep, and the output to learn; noise levels are spread as sampling visits them."""
    sampling = model.model_sampling
    noise = torch.randn(clean.shape, generator=generator)
    u = torch.rand(len(clean), generator=generator)
    if network.kind == "flow":
        sigma = sampling.sigma(u * sampling.multiplier)
        timestep = sampling.timestep(sigma)
    else:
        timestep = (u * len(sampling.sigmas)).long()
        sigma = sampling.sigmas[timestep]
    x = sampling.noise_scaling(sigma[:, None, None, None], noise.clone(), clean)
    target = noise - clean if network.kind == "flow" else noise
    return sampling.calculate_input(sigma, x), timestep.float(), target


def loss(network: Network, model, net, clean, classes, generator) -> torch.Tensor:
    """Mean squared error of the network's output."""
    x, timestep, target = noised(network, model, clean, generator)
    (token, extra), *_ = conditioning(network, classes)
    return (net(x, timestep, context=token, y=extra.get("pooled_output")) - target).square().mean()


def train(name: str, steps: int, seed: int = 0):
    """The trained BaseModel."""
    network = NETWORKS[name]
    model = build(network, seed)
    net = model.diffusion_model.train().requires_grad_(True)
    generator = torch.Generator().manual_seed(seed)
    mixture = digits()
    images, labels = to_latent(mixture.means, network), mixture.labels
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE))
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, step / 200) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
    )
    started, mean = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        index = torch.randint(len(images), (BATCH,), generator=generator)
        dropped = torch.rand(BATCH, generator=generator) < DROP_CLASS
        classes = torch.where(dropped, NO_CLASS, labels[index])
        value = loss(network, model, net, images[index], classes, generator)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(net)
        mean += (float(value.detach()) - mean) / min(step, 500)
        if step % 1000 == 0:
            print(f"step {step}: loss {mean:.4f}, {time.monotonic() - started:.0f} s", flush=True)
    net.load_state_dict(average.module.state_dict())
    net.eval().requires_grad_(False)
    return model


@torch.no_grad()
def report(name: str, model, batch: int = 4096) -> str:
    """Loss with the class known, without it, and with a wrong one."""
    network = NETWORKS[name]
    mixture = digits()
    index = torch.randint(len(mixture.means), (batch,), generator=torch.Generator().manual_seed(1))
    clean, labels = to_latent(mixture.means[index], network), mixture.labels[index]
    values = {}
    for label, classes in (
        ("class", labels),
        ("no class", torch.full_like(labels, NO_CLASS)),
        ("wrong class", (labels + 1) % 10),
    ):
        values[label] = float(loss(network, model, model.diffusion_model, clean, classes, torch.Generator().manual_seed(2)))
    return ", ".join(f"{label} {value:.4f}" for label, value in values.items())


def add_options(parser) -> None:
    """Of the command line."""
    parser.add_argument("--steps", type=positive, help="optimizer steps; of the pack's own weights unless given")
    parser.add_argument("--output", type=Path, help="file of the weights; output/digits_<network>.safetensors unless given")


def run(options) -> None:
    """Train `options.network` as the command line says."""
    host.load()
    import safetensors.torch

    name = options.network
    model = train(name, options.steps or STEPS[name])
    file = options.output or OUTPUT / NETWORKS[name].file.name
    file.parent.mkdir(parents=True, exist_ok=True)
    weights = state_dict(model)
    safetensors.torch.save_file(weights, file)
    print(f"loss: {report(name, model)}")
    print(f"{sum(w.numel() for w in weights.values()):,} parameters, {file.stat().st_size:,} bytes in {file}")


def positive(text: str) -> int:
    """An option that must be 1 or more."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return int(text)
