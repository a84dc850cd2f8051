"""Training of the CLD network on the digits.

It uses hybrid score matching (arXiv 2112.07068, section 3.2), which averages over the velocity at t = 0:

    u_t = Psi(t, 0) (x0, 0) + K_t z,    loss = mean |eps(u_t, t) - z|^2

The optimizer is AdamW with a cosine learning rate and clipped gradients. The result is an exponential moving average of the
weights. One class in eight is dropped. The data are the mixture of `embedded.digits`, so the optimum is known: a run ends with
the loss and the eps of the averaged weights, compared with the exact ones. A run that was stopped continues with --resume, and
ends with the same weights bit by bit on the same CPU.
"""

import copy
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import one_hot
from tqdm import tqdm

from embedded import cld_checkpoint, cld_coordinates
from embedded.cld_network import CLDNetwork
from embedded.digits import CLASSES, SHAPE, digits
from embedded.process_mixture import ProcessMixture
from samplers import disk
from samplers.processes.cld import CLD
from samplers.processes.linear_sde import KINDS
from testbed.paths import OUTPUT

from .train import positive

STEPS = 6000
BATCH = 64
LEARNING_RATE = 2e-3
WARM_UP = 200
DROP_CLASS = 0.125
AVERAGE = 0.998
T_MIN = 1e-3  # time of the last call in sampling
STATE_EVERY = 500
LEVELS = 64  # levels of absolute weights; rounding to them adds 1e-4 to a loss of 0.12


@dataclass
class Training:
    """The state of a run.

    Attributes:
        kind: "R" or "L".
        steps: number of steps of the whole run, on which the learning rate depends.
        step: number of steps done.
        network, average: the weights and their moving average.
        optimizer, generator: these hold their states.
    """

    kind: str
    steps: int
    step: int
    network: CLDNetwork
    average: CLDNetwork
    optimizer: torch.optim.Optimizer
    generator: torch.Generator


def begin(kind: str, steps: int, seed: int = 0) -> Training:
    """A run at its beginning."""
    mixture = digits()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CLDNetwork(*SHAPE, classes=CLASSES)
    network.coordinates.copy_(cld_coordinates.table(CLD(), kind))
    network.mean.copy_(mixture.means.mean(dim=0).reshape(SHAPE))
    network.std.copy_((mixture.means.var(dim=0, correction=0) + mixture.std**2).sqrt().reshape(SHAPE))
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-3)
    average = copy.deepcopy(network).requires_grad_(False)
    return Training(kind, steps, 0, network, average, optimizer, torch.Generator().manual_seed(seed))


def train(run: Training, until: int | None = None, state: Path | None = None) -> None:
    """Continue a run.

    Args:
        run: the run.
        until: the step to stop after; None for the last.
        state: file to save the run in, every STATE_EVERY steps and at the end.
    """
    until = run.steps if until is None else min(until, run.steps)
    mean = math.nan
    with tqdm(initial=run.step, total=run.steps, unit="step") as progress:
        while run.step < until:
            value = _optimize(run)
            mean = value if math.isnan(mean) else mean + 0.01 * (value - mean)
            progress.update()
            progress.set_postfix(loss=f"{mean:.4f}", refresh=False)
            if state is not None and (run.step % STATE_EVERY == 0 or run.step == until):
                save_state(run, state)


def _optimize(run: Training) -> float:
    rate = LEARNING_RATE * min(1.0, (run.step + 1) / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * run.step / run.steps))
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    clean, context = draw_data(BATCH, run.generator, DROP_CLASS)
    value = loss(run.network, clean, context, draw_times(BATCH, run.generator), run.kind, run.generator)
    run.optimizer.zero_grad(set_to_none=True)
    value.backward()
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
    run.optimizer.step()
    run.step += 1
    decay = min(
        AVERAGE, run.step / (run.step + 9)
    )  # an average over fewer steps at first, so that the initial weights do not count
    with torch.no_grad():
        for mean, weight in zip(run.average.parameters(), run.network.parameters()):
            mean.lerp_(weight, 1.0 - decay)
    return float(value.detach())


def draw_data(batch: int, generator: torch.Generator, drop_class: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (batch, 1, 8, 8) of the mixture, and a context (batch, 1, 10) that names the class or is zero for no class."""
    mixture = digits()
    index = torch.randint(len(mixture.means), (batch,), generator=generator)
    noise = torch.randn(batch, *SHAPE, generator=generator)
    named = torch.rand(batch, generator=generator) >= drop_class
    context = one_hot(mixture.labels[index], CLASSES) * named[:, None]
    return mixture.means[index].reshape(batch, *SHAPE) + mixture.std * noise, context[:, None].float()


def draw_times(batch: int, generator: torch.Generator) -> torch.Tensor:
    """Times (batch,) in float64, uniform in sqrt(t) like the grid of sampling."""
    low = math.sqrt(T_MIN)
    return (low + (math.sqrt(CLD().t_max) - low) * torch.rand(batch, generator=generator, dtype=torch.float64)).square()


def diffused(clean: torch.Tensor, t: torch.Tensor, kind: str, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """States (batch, 2C, height, width) of images (batch, C, height, width) at times (batch,), and their noise z."""
    sde, times = CLD(), t.numpy()
    signal, factor = (
        torch.from_numpy(np.ascontiguousarray(matrix)).to(clean)
        for matrix in (sde.transition(times, 0.0)[..., 0], sde.factor(times, kind))
    )
    z = torch.randn(len(clean), 2, *clean.shape[1:], generator=generator)
    u = torch.einsum("bi,bchw->bichw", signal, clean) + torch.einsum("bij,bjchw->bichw", factor, z)
    return u.flatten(1, 2), z.flatten(1, 2)


def loss(eps, clean, context, t, kind: str, generator: torch.Generator) -> torch.Tensor:
    """Mean |eps - z|^2 over both parts of the state, which is minimal for eps = -K^T score.

    Args:
        eps: `eps(u, labels, context)`, a network or another function.
        clean, context: as `draw_data` gives them.
        t: (batch,) times.
        kind: "R" or "L".
        generator: draws the noise.
    """
    u, z = diffused(clean, t, kind, generator)
    return (eps(u, (cld_coordinates.LABEL_SCALE * t).float(), context) - z).square().mean()


def exact(kind: str):
    """The optimum as a function `eps(u, labels, context)`; all labels must be equal."""
    mixture = ProcessMixture(CLD(), digits(dtype=torch.float64))

    def eps(u, labels, context):
        t = float(labels[0]) / cld_coordinates.LABEL_SCALE
        return mixture.eps(u.double(), t, kind, context.double().sum(dim=1)).to(u.dtype)

    return eps


@torch.no_grad()
def compare(network, kind: str, t: float, batch: int = 512, seed: int = 1) -> tuple[float, float, float]:
    """The network's loss at one time with the class given, the exact loss, and the relative distance of the network's eps."""
    generator = torch.Generator().manual_seed(seed)
    clean, context = draw_data(batch, generator)
    u, z = diffused(clean, torch.full((batch,), t, dtype=torch.float64), kind, generator)
    labels = torch.full((batch,), cld_coordinates.LABEL_SCALE * t)
    result, expected = network(u, labels, context), exact(kind)(u, labels, context)
    distance = (result - expected).norm() / expected.norm()
    return float((result - z).square().mean()), float((expected - z).square().mean()), float(distance)


@torch.no_grad()
def rounded(network: CLDNetwork) -> CLDNetwork:
    """A copy of the network whose weights are multiples of a power of two, less than LEVELS times it in each tensor.

    Half precision holds these weights exactly, and they need half as many bytes in the pack's archive.
    """
    network = copy.deepcopy(network)
    for weight in network.parameters():
        if weight.ndim > 1:
            step = 2.0 ** torch.ceil(torch.log2(weight.abs().max().clamp_min(1e-6) / (LEVELS - 1)))
            weight.copy_(torch.round(weight / step) * step)
    return network


def report(network, kind: str) -> str:
    """The losses, averaged over the grid of sampling and at several times."""
    grid = np.linspace(math.sqrt(T_MIN), 1.0, 33) ** 2
    result, best, _ = np.mean([compare(network, kind, t) for t in grid], axis=0)
    lines = [f"loss {result:.4f}, with the exact eps {best:.4f}", "t       loss    exact   distance of eps"]
    for t in (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0):
        lines.append("{:<7g} {:.4f}  {:.4f}  {:.4f}".format(t, *compare(network, kind, t)))
    return "\n".join(lines)


def save_state(run: Training, path: Path) -> None:
    """Write a run. A process that is killed meanwhile leaves the file as it was."""
    content = {"kind": run.kind, "steps": run.steps, "step": run.step, "generator": run.generator.get_state()}
    content |= {name: getattr(run, name).state_dict() for name in ("network", "average", "optimizer")}
    data = io.BytesIO()
    torch.save(content, data)
    disk.write(path, data.getvalue())


def load_state(path: Path) -> Training:
    """A run as `save_state` wrote it."""
    content = torch.load(path, weights_only=True)
    run = begin(content["kind"], content["steps"])
    run.step = content["step"]
    run.generator.set_state(content["generator"])
    for name in ("network", "average", "optimizer"):
        getattr(run, name).load_state_dict(content[name])
    return run


def add_options(parser) -> None:
    """Add the options of the command line."""
    parser.add_argument("--kind", choices=KINDS, help="K of eps = -K^T score; R unless given")
    parser.add_argument("--steps", type=positive, help=f"optimizer steps, {STEPS} unless given")
    parser.add_argument("--output", type=Path, help="file of the weights; output/digits_cld_<kind>.safetensors unless given")
    parser.add_argument(
        "--resume", type=Path, metavar="STATE", help="continue the run in this file, which is written every 500 steps"
    )


def run(options) -> None:
    """Train as the command line says.

    Raises:
        SystemExit: options of a new run are given together with --resume.
    """
    if options.resume and (options.kind or options.steps):
        raise SystemExit("--kind and --steps are set by the run that is resumed; leave them out.")
    training = load_state(options.resume) if options.resume else begin(options.kind or "R", options.steps or STEPS)
    state = options.resume or OUTPUT / f"digits_cld_{training.kind}.training.pt"
    output = options.output or OUTPUT / f"digits_cld_{training.kind}.safetensors"
    print(f"state of the run: {state}")
    train(training, state=state)
    disk.write(output, cld_checkpoint.to_bytes(rounded(training.average), CLD(), training.kind))
    _, kind, network = cld_checkpoint.load(output, CLD)
    print(report(network, kind))
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, {output.stat().st_size:,} bytes in {output}")
