"""How the networks of ComfyUI's own architectures are trained.

The recipe is AdamW with a cosine learning rate, clipped gradients, an exponential moving average of the weights, and a class
that is dropped in one of eight. A CPU computes the network in bfloat16, a GPU in TF32; weights and the loss are float32. A run
ends with the loss of the averaged weights when the class is given, withheld or wrong.

A run takes as long as --minutes says. The learning rate falls to zero by the clock, so a busy machine ends in time with fewer
steps. The same command continues a run that was stopped, from its state in output/.

The pack's own networks came from one busy CPU core, each run starting from the weights of an earlier one, which saves time
because the UNet is the same: emoji_ddpm from random weights (31 minutes), emoji_sd from emoji_ddpm (11), emoji_flow from emoji_sd
(11), emoji_ddpm once more, from emoji_sd (9, with --start), and from itself (75). So emoji_ddpm had 126 minutes on the CPU.
emoji_ddpm_early is its state six minutes after the start, a twentieth of that. Then each of the three continued from its own
weights (with --start) on an H100 that they shared: 5.7 minutes each, and 2.1 more for emoji_ddpm.
"""

import argparse
import io
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from samplers import disk
from testbed.in_process import load
from testbed.paths import OUTPUT

from .networks import NETWORKS, PREFIX, Network, build, conditioning, read, to_latent

BATCH = {"sd3": 64}
GPU_BATCH = 256  # a GPU computes these in about the time of launching the kernels
LEARNING_RATE = 2e-3
STARTED_RATE = 1e-3  # learning rate of a run that starts from weights
WARM_UP = 200
DROP_CLASS = 0.125
AVERAGE = 0.999
EARLY = 0.2  # share of the training after which <network>_early is written, where there is such a network
START = {"emoji_sd": "emoji_ddpm", "emoji_flow": "emoji_sd"}
STATE_EVERY = 60.0  # seconds


@dataclass
class Training:
    """The state of a training run.

    Attributes:
        name: key of NETWORKS.
        minutes: length of the whole run.
        seconds, step: progress so far.
        started: whether it began with weights of an earlier run.
        model: BaseModel of ComfyUI with the network.
        average: moving average of the network's weights, by name.
        optimizer, generator: optimizer and random generator, with their states.
    """

    name: str
    minutes: float
    seconds: float
    step: int
    started: bool
    model: torch.nn.Module
    average: dict[str, torch.Tensor]
    optimizer: torch.optim.Optimizer
    generator: torch.Generator

    @property
    def network(self) -> Network:
        return NETWORKS[self.name]

    @property
    def device(self) -> torch.device:
        return self.model.model_sampling.sigmas.device

    @property
    def done(self) -> float:
        """Share of the run that is done, from 0 to 1."""
        return min(1.0, self.seconds / (60.0 * self.minutes))


def begin(name: str, minutes: float, start: Path | None = None, seed: int = 0) -> Training:
    """A new run.

    Args:
        name: key of NETWORKS.
        minutes: length of the run.
        start: file of weights to start from, None for random ones.
        seed: seed for the weights and for all noise.

    Raises:
        ValueError: see `networks.read`.
    """
    model = build(NETWORKS[name], seed)
    if start is not None:
        model.load_model_weights(read(start, model), PREFIX)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    model.to(device)
    weights = model.diffusion_model.train().requires_grad_(True).state_dict()
    optimizer = torch.optim.AdamW(model.diffusion_model.parameters(), LEARNING_RATE, weight_decay=1e-3, fused=True)
    average = {key: weight.detach().clone() for key, weight in weights.items()}
    generator = torch.Generator(device).manual_seed(seed)
    return Training(name, minutes, 0.0, 0, start is not None, model, average, optimizer, generator)


def train(run: Training, state: Path, until: float = 1.0, clock=time.monotonic, early: Path | None = None) -> None:
    """Continue a run.

    Args:
        run: the run to continue.
        state: file that gets the run's state every minute and at the end.
        until: share of the run to stop at.
        clock: function that gives seconds, such as time.monotonic.
        early: file for the averaged weights after EARLY of the run, None for none; a run that began with weights writes none.
    """
    mixture = run.network.data.mixture()
    data = to_latent(mixture.means, run.network).to(run.device), mixture.labels.to(run.device)
    mean, saved, now = math.nan, run.seconds, clock()
    with tqdm(initial=run.seconds, total=60 * run.minutes, bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}") as progress:
        while run.done < until:
            before = run.done
            value = _optimize(run, data)
            mean = value if math.isnan(mean) else mean + 0.01 * (value - mean)
            earlier, now = now, clock()
            run.seconds += now - earlier
            progress.update(min(run.seconds, progress.total) - progress.n)
            progress.set_postfix(step=run.step, loss=f"{mean:.4f}", refresh=False)
            if early is not None and not run.started and before < EARLY <= run.done:
                save_weights(run, early)
            if run.seconds - saved >= STATE_EVERY:
                save_state(run, state)
                saved = run.seconds
    save_state(run, state)


def _optimize(run: Training, data: tuple[torch.Tensor, torch.Tensor]) -> float:
    rate = STARTED_RATE if run.started else LEARNING_RATE
    rate *= min(1.0, (run.step + 1) / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * run.done))
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    net, generator, device = run.model.diffusion_model, run.generator, run.device
    batch = GPU_BATCH if device.type == "cuda" else BATCH.get(run.name, 32)
    index = torch.randint(len(data[0]), (batch,), generator=generator, device=device)
    dropped = torch.rand(batch, generator=generator, device=device) < DROP_CLASS
    clean, classes = data[0][index], torch.where(dropped, run.network.no_class, data[1][index])
    value = loss(run.network, run.model, clean, classes, generator)
    run.optimizer.zero_grad(set_to_none=True)
    value.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    run.optimizer.step()
    run.step += 1
    decay = min(AVERAGE, run.step / (run.step + 9))  # an average over fewer steps early on, without a weight for the start
    with torch.no_grad():
        torch._foreach_lerp_(list(run.average.values()), list(net.state_dict().values()), 1.0 - decay)
    return float(value.detach())


def loss(network: Network, model, clean: torch.Tensor, classes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mean squared error of the network's output; for eps it is weighted with sigma where sigma is above 1.

    An error of eps is sigma times larger in the picture, and large sigmas decide what the picture shows. In bfloat16 eps is
    rounded by up to 0.4 %, which at DDPM's largest sigma is more than the picture; so a GPU computes in TF32.

    Args:
        network: description of the network.
        model: BaseModel of ComfyUI with the network.
        clean: (batch, *network.shape) latents.
        classes: (batch,), the class of each item.
        generator: for the noise and its levels.
    """
    x, timestep, target, weight = noised(network, model, clean, generator)
    (token, extra), *_ = conditioning(network, classes)
    token, pooled = (None if value is None else value.to(x.device) for value in (token, extra.get("pooled_output")))
    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cpu"):
        output = model.diffusion_model(x, timestep, context=token, y=pooled)
    return ((output.float() - target).square().mean(dim=(1, 2, 3)) * weight).mean()


def noised(network: Network, model, clean: torch.Tensor, generator: torch.Generator):
    """Network input, its timestep, the output to learn, and the weight of its error; timesteps are spread evenly."""
    sampling = model.model_sampling
    noise = torch.randn(clean.shape, generator=generator, device=generator.device)
    u = torch.rand(len(clean), generator=generator, device=generator.device)
    noise, u, clean = (value.to(sampling.sigmas.device) for value in (noise, u, clean))
    if network.kind == "flow":
        sigma = sampling.sigma(u * sampling.multiplier)
        timestep = sampling.timestep(sigma)
    else:
        timestep = (u * len(sampling.sigmas)).long()
        sigma = sampling.sigmas[timestep]
    x = sampling.noise_scaling(sigma[:, None, None, None], noise.clone(), clean)
    target, weight = (noise - clean, 1.0) if network.kind == "flow" else (noise, sigma.clamp(min=1.0))
    return sampling.calculate_input(sigma, x), timestep.float(), target, weight


@torch.no_grad()
def report(run: Training, batch: int = 256) -> str:
    """Loss of the averaged weights with the class known, without it, and with a wrong one."""
    network, mixture = run.network, run.network.data.mixture()
    model = build(network).to(run.device)
    model.diffusion_model.load_state_dict(run.average)
    index = torch.randint(len(mixture.means), (batch,), generator=torch.Generator().manual_seed(1))
    clean, labels = to_latent(mixture.means[index], network), mixture.labels[index]
    given = {
        "class": labels,
        "no class": torch.full_like(labels, network.no_class),
        "wrong class": (labels + 1) % network.no_class,
    }
    values = {label: loss(network, model, clean, classes, torch.Generator().manual_seed(2)) for label, classes in given.items()}
    return ", ".join(f"{label} {float(value):.4f}" for label, value in values.items())


def save_weights(run: Training, file: Path) -> None:
    """Write the averaged weights in half precision."""
    import safetensors.torch

    disk.write(file, safetensors.torch.save({PREFIX + key: weight.half().cpu() for key, weight in run.average.items()}))


def save_state(run: Training, file: Path) -> None:
    """Write a run; if writing is interrupted, the file stays as it was."""
    content = {name: getattr(run, name) for name in ("name", "minutes", "seconds", "step", "started", "average")}
    content |= {"generator": run.generator.get_state(), "optimizer": run.optimizer.state_dict()}
    data = io.BytesIO()
    torch.save(content | {"weights": run.model.diffusion_model.state_dict()}, data)
    disk.write(file, data.getvalue())


def load_state(file: Path) -> Training:
    """Read a run that `save_state` wrote.

    Raises:
        ValueError: the run is of another architecture.
    """
    content = torch.load(file, weights_only=True)
    run = begin(content["name"], content["minutes"])
    shapes = [{key: value.shape for key, value in weights.items()} for weights in (content["average"], run.average)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"The run in {file} is of another architecture. Start a new one with --again.")
    run.seconds, run.step, run.started = content["seconds"], content["step"], content["started"]
    run.generator.set_state(content["generator"])
    run.optimizer.load_state_dict(content["optimizer"])
    run.model.diffusion_model.load_state_dict(content["weights"])
    for key, weight in run.average.items():
        weight.copy_(content["average"][key])
    return run


def add_options(parser) -> None:
    """Add the command-line options."""
    parser.add_argument(
        "--minutes",
        type=positive,
        help="length of the run; if it is not given, the length of the run that made the pack's own weights",
    )
    parser.add_argument(
        "--output", type=Path, help="file for the weights; if it is not given, a file in output/ under the network's name"
    )
    parser.add_argument(
        "--start",
        type=Path,
        help="file of weights to start from; if it is not given, emoji_sd starts from emoji_ddpm and emoji_flow from emoji_sd",
    )
    parser.add_argument("--again", action="store_true", help="do not continue a run of this network that output/ holds")


def run(options) -> None:
    """Train `options.network` as the command line says."""
    load(cpu=not torch.cuda.is_available())
    name, network = options.network, NETWORKS[options.network]
    state = OUTPUT / f"{network.name}.training.pt"
    output = options.output or OUTPUT / network.file.name
    if state.is_file() and not options.again:
        if options.minutes or options.start:
            raise SystemExit(
                f"--minutes and --start are for a new run, but {state} holds one to continue. Leave them out, or add --again."
            )
        training = load_state(state)
        print(f"continues {state}, after {training.seconds / 60:.1f} of {training.minutes:g} minutes")
    else:
        start = options.start or (NETWORKS[START[name]].file if name in START else None)
        training = begin(name, options.minutes or options.recipe_minutes, start)
    early = f"{name}_early" in NETWORKS
    train(training, state, early=output.with_name(f"{output.stem}_early.safetensors") if early else None)
    save_weights(training, output)
    print(f"loss: {report(training)}; {training.step} steps")
    print(
        f"{sum(weight.numel() for weight in training.average.values()):,} parameters, {output.stat().st_size:,} bytes in {output}"
    )


def positive(text: str) -> float:
    """An option that must be above 0."""
    if not float(text) > 0:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return float(text)
