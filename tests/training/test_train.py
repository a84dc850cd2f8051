"""The commands that train: they list what there is, and what they write the host loads as the network that it is."""

import pytest
import safetensors.torch
import torch

from training import __main__, networks


def test_the_list(capsys):
    __main__.main([])
    listed = capsys.readouterr().out
    for name, recipe in __main__.RECIPES.items():
        assert recipe.ours.is_file() and f"{name} " in listed and f"--output {recipe.ours.relative_to(__main__.ROOT)}" in listed


def test_steps_must_be_positive(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["sd3", "--steps", "0"])
    assert "must be 1 or more, got 0" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sd3", "unet"])
def test_the_command_trains_a_network_of_the_host(pack, tmp_path, monkeypatch, capsys, name):
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    file = tmp_path / "weights" / "trained.safetensors"
    __main__.main([name, "--steps", "2", "--output", str(file)])
    assert "loss: class" in capsys.readouterr().out
    trained, ours = (safetensors.torch.load_file(path) for path in (file, networks.NETWORKS[name].file))
    assert {key: weight.shape for key, weight in trained.items()} == {key: weight.shape for key, weight in ours.items()}
    assert all(weight.isfinite().all() for weight in trained.values())
