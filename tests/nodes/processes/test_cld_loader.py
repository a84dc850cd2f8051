"""Load CLD Model in the real host."""

import shutil

import pytest
import torch

from embedded.cld_checkpoint import DIGITS_CLD
from embedded.digits import digits

MODE = {"mode": "deterministic", "degree": 2, "corrector": "none"}


@pytest.fixture
def models(host, tmp_path):
    """A folder for models, like models/diffusion_models."""
    import folder_paths

    folder_paths.add_model_folder_path("diffusion_models", str(tmp_path))
    yield tmp_path
    folder_paths.folder_names_and_paths["diffusion_models"][0].remove(str(tmp_path))
    folder_paths.filename_list_cache.clear()


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_the_digits_network_draws_the_class(pack, gddim_sample, cfg):
    """Most samples are nearest to a digit of the chosen class, at the paper's 50 calls."""
    model = pack["RESLoadCLD"].execute("digits (embedded)").result[0]
    samples = gddim_sample(model, MODE, 50, batch=32, cfg=cfg, name="7")
    mixture = digits()
    nearest = mixture.labels[torch.cdist(samples.flatten(1), mixture.means).argmin(dim=1)]
    assert (nearest == 7).float().mean() > 0.85
    assert 0.6 < samples.std() < 0.95


def test_wrappers_of_other_nodes_see_the_network(pack, gddim_sample):
    """They are called as for the host's own networks."""
    import comfy.patcher_extension

    model, calls = pack["RESLoadCLD"].execute("digits (embedded)").result[0], []

    def count(executor, *args, **kwargs):
        calls.append(args[0].shape)
        return executor(*args, **kwargs)

    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "test", count)
    gddim_sample(model, MODE, 6, batch=2)
    assert calls == [(2, 2, 8, 8)] * 6


def test_a_file_of_the_host_s_folder(pack, models):
    """The node offers it, and it loads like the embedded network."""
    shutil.copy(DIGITS_CLD, models / "mine.safetensors")
    [file] = [item for item in pack["RESLoadCLD"].define_schema().inputs if item.id == "file"]
    assert "mine.safetensors" in file.options and file.options[0] == "digits (embedded)"
    model, embedded = (pack["RESLoadCLD"].execute(name).result[0] for name in ("mine.safetensors", "digits (embedded)"))
    state, label = torch.randn(2, 2, 8, 8), torch.tensor([500.0, 20.0])
    torch.testing.assert_close(model.model.diffusion_model(state, label), embedded.model.diffusion_model(state, label))
