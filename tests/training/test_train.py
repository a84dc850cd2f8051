"""The commands that train: their list, their files, and how a run continues."""

import functools
import itertools

import pytest
import safetensors.torch
import torch

from training import __main__, networks, train
from training.networks import NETWORKS


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Batches of 4 pictures, in training and for the losses that are reported at the end."""
    monkeypatch.setattr(train, "BATCH", dict.fromkeys(NETWORKS, 4))
    monkeypatch.setattr(train, "report", functools.partial(train.report, batch=4))


@pytest.fixture
def command(pack, tmp_path, monkeypatch):
    """Runs `python -m training` with a folder of its own for output/; a clock by which every optimizer step takes a second."""
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(train, "OUTPUT", tmp_path)
    monkeypatch.setattr(train.time, "monotonic", itertools.count().__next__)
    return lambda *arguments: __main__.main([str(argument) for argument in arguments])


def test_the_list(capsys):
    __main__.main([])
    listed = capsys.readouterr().out
    for name, recipe in __main__.RECIPES.items():
        assert recipe.ours.is_file() and f"{name} " in listed and f"--output {recipe.ours.relative_to(__main__.ROOT)}" in listed


def test_minutes_must_be_positive(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["sd3", "--minutes", "0"])
    assert "must be above 0, got 0" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["emoji_sd", "emoji_flow", "sd3", "unet"])
def test_the_command_trains_a_network_of_comfyui(command, tmp_path, capsys, name):
    file = tmp_path / "weights" / "trained.safetensors"
    command(name, "--minutes", "0.02", "--output", file)
    assert "loss: class" in capsys.readouterr().out
    trained, ours = (safetensors.torch.load_file(path) for path in (file, NETWORKS[name].file))
    assert {key: weight.shape for key, weight in trained.items()} == {key: weight.shape for key, weight in ours.items()}
    assert all(weight.isfinite().all() for weight in trained.values())


def test_a_network_that_is_hardly_trained_is_kept(command, tmp_path):
    command("emoji_ddpm", "--minutes", 0.12)
    early, late = (safetensors.torch.load_file(tmp_path / f"emoji_ddpm{end}.safetensors") for end in ("_early", ""))
    assert early.keys() == late.keys() and any(not torch.equal(early[key], late[key]) for key in early)


def test_a_run_that_was_stopped_continues_to_the_same_weights(pack, tmp_path):
    def run(training, until):
        train.train(training, tmp_path / "state.pt", until, itertools.count().__next__)
        return training

    whole = run(train.begin("emoji_ddpm", 0.1), 1.0)
    run(train.begin("emoji_ddpm", 0.1), 0.5)
    continued = run(train.load_state(tmp_path / "state.pt"), 1.0)
    assert continued.step == whole.step == 6
    torch.testing.assert_close(continued.average, whole.average, rtol=0.0, atol=0.0)


def test_a_finished_run_is_not_trained_further_and_takes_no_options(command, tmp_path):
    command("emoji_ddpm", "--minutes", 0.02)
    first = (tmp_path / "emoji_ddpm.safetensors").read_bytes()
    command("emoji_ddpm")
    assert (tmp_path / "emoji_ddpm.safetensors").read_bytes() == first
    with pytest.raises(SystemExit, match="--minutes and --start are for a new run.*--again"):
        command("emoji_ddpm", "--minutes", 1)


def test_a_run_of_another_architecture_is_refused(command, tmp_path):
    command("emoji_ddpm", "--minutes", 0.02)
    content = torch.load(tmp_path / "emoji_ddpm.training.pt", weights_only=True)
    torch.save(content | {"average": {"weight": torch.zeros(1)}}, tmp_path / "emoji_ddpm.training.pt")
    with pytest.raises(ValueError, match="emoji_ddpm.training.pt is of another architecture.*--again"):
        command("emoji_ddpm")


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "cannot be read.*python -m training"),
        (b"no weights", "cannot be read.*python -m training"),
        ({"model.diffusion_model.weight": torch.zeros(1)}, "another architecture: .* tensors differ, first .*python -m training"),
    ],
    ids=["missing", "damaged", "another"],
)
def test_wrong_weights_are_refused_by_name(pack, tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path)
    file = NETWORKS["emoji_sd"].file
    if isinstance(content, dict):
        safetensors.torch.save_file(content, file)
    elif content:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=f"emoji_sd.safetensors.*{message}"):
        networks.load("emoji_sd")


def test_wrong_names_and_classes_are_refused(pack):
    with pytest.raises(ValueError, match="network must be one of emoji_sd, .*got 'emoji'"):
        networks.load("emoji")
    with pytest.raises(ValueError, match=r"between 0 and 8, which is no class; got \[9\]"):
        networks.conditioning(NETWORKS["emoji_sd"], [9])
