"""Training of the CLD network: the optimum of its loss is the exact eps, and runs resume exactly."""

import pytest
import torch

from embedded import cld_checkpoint
from samplers.processes.cld import CLD
from training import __main__, cld_training


@pytest.fixture
def small(monkeypatch):
    """Batches of 4 images."""
    monkeypatch.setattr(cld_training, "BATCH", 4)


@pytest.mark.parametrize("kind", ["R", "L"])
@pytest.mark.parametrize("t", [0.02, 0.2])
def test_the_optimum_of_the_loss_is_the_exact_eps(t, kind):
    """The loss of another eps is larger by its squared distance: E|f - z|^2 = E|eps - z|^2 + E|f - eps|^2."""
    exact, times = cld_training.exact(kind), torch.full((1024,), t, dtype=torch.float64)

    def loss_of(eps):
        generator = torch.Generator().manual_seed(3)
        return float(cld_training.loss(eps, *cld_training.draw_data(1024, generator), times, kind, generator))

    generator = torch.Generator().manual_seed(3)
    clean, context = cld_training.draw_data(1024, generator)
    u, _ = cld_training.diffused(clean, times, kind, generator)
    labels, best = (999 * times).float(), loss_of(exact)
    others = {
        "smaller": lambda *arguments: 0.9 * exact(*arguments),
        "bent": lambda u, *rest: exact(u, *rest) + 0.1 * torch.tanh(u),
        "of v only": lambda u, *rest: exact(u, *rest) + torch.tensor([0.0, 0.1])[None, :, None, None] * u,
        "of another class": lambda u, labels, context: exact(u, labels, context.roll(1, dims=2)),
    }
    for name, other in others.items():
        distance = float((other(u, labels, context) - exact(u, labels, context)).square().mean())
        assert distance > 1e-4, name
        assert loss_of(other) - best == pytest.approx(distance, rel=0.15, abs=4e-4), name


def test_weights_are_rounded_to_few_levels():
    network = cld_training.begin("R", 1).network
    rounded = cld_training.rounded(network)
    for weight, kept in zip(network.parameters(), rounded.parameters()):
        assert (weight - kept).abs().max() <= weight.abs().max() / (cld_training.LEVELS - 1)
        assert torch.equal(kept, kept.half().float()) or weight.ndim == 1
        assert len(kept.abs().unique()) <= cld_training.LEVELS or weight.ndim == 1
    assert all(torch.equal(*pair) for pair in zip(rounded.parameters(), cld_training.rounded(rounded).parameters()))


@pytest.mark.parametrize("kind", ["R", "L"])
def test_states_have_the_moments_of_the_process(kind):
    """The states are the states of point data, averaged over v_0."""
    sde, generator = CLD(), torch.Generator().manual_seed(4)
    for t in (1e-3, 0.05, 0.8):
        u, z = cld_training.diffused(
            torch.full((4000, 1, 8, 8), 0.7), torch.full((4000,), t, dtype=torch.float64), kind, generator
        )
        pairs = u.double().flatten(2).transpose(0, 1).flatten(1)
        expected = torch.from_numpy(sde.covariance(t))
        torch.testing.assert_close(torch.cov(pairs), expected, rtol=0.02, atol=0.02 * float(expected.diagonal().prod().sqrt()))
        torch.testing.assert_close(pairs.mean(dim=1), 0.7 * torch.from_numpy(sde.transition(t, 0.0)[:, 0]), rtol=0.01, atol=5e-3)
        assert u.shape == z.shape == (4000, 2, 8, 8)


def test_times_are_uniform_in_their_root():
    t = cld_training.draw_times(20000, torch.Generator().manual_seed(5))
    assert t.min() >= 1e-3 and t.max() <= 1.0
    quantiles = torch.quantile(t.sqrt(), torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    torch.testing.assert_close(quantiles, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), rtol=0, atol=0.02 + 1e-3**0.5)


def test_one_class_in_eight_is_dropped():
    _, context = cld_training.draw_data(4000, torch.Generator().manual_seed(6), cld_training.DROP_CLASS)
    assert context.shape == (4000, 1, 10)
    assert float((context.sum(dim=(1, 2)) == 0).float().mean()) == pytest.approx(0.125, abs=0.02)


def test_it_begins_at_the_best_gaussian():
    """Before training, the network's eps is already close to the exact one."""
    for kind in ("R", "L"):
        network = cld_training.begin(kind, 1).network
        assert cld_training.compare(network, kind, 1.0, batch=64)[2] < 2e-3
        assert cld_training.compare(network, kind, 1e-3, batch=64)[2] < 0.02


@pytest.mark.parametrize("kind", ["R", "L"])
def test_a_resumed_run_ends_as_an_uninterrupted_one(small, tmp_path, kind):
    whole = cld_training.begin(kind, 6)
    cld_training.train(whole)
    file = tmp_path / "folder" / "run.pt"
    cld_training.train(cld_training.begin(kind, 6), until=2, state=file)
    for until in (5, None):
        resumed = cld_training.load_state(file)
        cld_training.train(resumed, until, file)
    assert (resumed.kind, resumed.steps, resumed.step) == (kind, 6, 6)
    assert not list(file.parent.glob("*.part"))
    torch.testing.assert_close(resumed.generator.get_state(), whole.generator.get_state())
    for name in ("network", "average", "optimizer"):
        one, other = (getattr(run, name).state_dict() for run in (whole, resumed))
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert not torch.equal(whole.average.unet.leave.weight, whole.network.unet.leave.weight)


def test_training_lowers_the_loss(monkeypatch):
    monkeypatch.setattr(cld_training, "BATCH", 16)
    monkeypatch.setattr(cld_training, "WARM_UP", 5)
    run = cld_training.begin("R", 25)
    before = cld_training.compare(run.network, "R", 0.1)[0]
    cld_training.train(run)
    assert cld_training.compare(run.average, "R", 0.1)[0] < before - 0.01


def test_the_command_trains_and_resumes(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cld_training, "OUTPUT", tmp_path)
    monkeypatch.setattr(cld_training, "report", lambda network, kind: f"the losses of {kind}")
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)

    def command(*arguments):
        __main__.main(["cld", *map(str, arguments)])
        return capsys.readouterr().out

    assert "the losses of L" in command("--kind", "L", "--steps", 2)
    file = tmp_path / "digits_cld_L.safetensors"
    command("--resume", tmp_path / "digits_cld_L.training.pt", "--output", tmp_path / "again.safetensors")
    one, other = (cld_checkpoint.load(path, CLD) for path in (file, tmp_path / "again.safetensors"))
    assert one.kind == other.kind == "L" and one.sde == other.sde
    torch.testing.assert_close(one.network.state_dict(), other.network.state_dict(), rtol=0, atol=0)
    with pytest.raises(SystemExit, match="set by the run that is resumed"):
        command("--resume", tmp_path / "digits_cld_L.training.pt", "--steps", 3)
