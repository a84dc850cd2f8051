"""RES Lab: Calibrate and RES Calibrated in the real host."""

import json
import logging
import re

import pytest
import torch


@pytest.fixture
def folder(host, pack, tmp_path):
    """The first folder of models/res_calibrations."""
    import folder_paths

    folder_paths.add_model_folder_path("res_calibrations", str(tmp_path), is_default=True)
    yield tmp_path
    folder_paths.folder_names_and_paths["res_calibrations"][0].remove(str(tmp_path))
    folder_paths.filename_list_cache.clear()


def guided(pack, kind="eps", cfg=5.0):
    """A GUIDER on the digits, and their model."""
    import comfy.samplers

    options = {"kind": kind, "shift": 3.0} if kind == "flow" else {"kind": kind}
    model = pack["RESToyModel"].execute("digits", options, 0.1).result[0]
    guider = comfy.samplers.CFGGuider(model)
    three, anything = (pack["RESToyCondition"].execute({"data": "digits", "class": name}).result[0] for name in ("3", "any"))
    guider.set_conds(three, anything)
    guider.set_cfg(cfg)
    return guider, model


def karras(model, steps, name="karras"):
    """SIGMAS of the host."""
    import comfy.samplers

    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), name, steps)


def latent(pack, batch=8):
    """An empty LATENT of digits."""
    return pack["RESToyLatent"].execute("digits", batch).result[0]


@pytest.mark.parametrize("kind, grid", [("eps", "karras"), ("flow", "simple")])
def test_it_beats_the_analytic_plan_and_loads_again(pack, folder, kind, grid):
    """It is measured on seeds that had no part in the fit, and the file gives the same sampler bit for bit."""
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    guider, model = guided(pack, kind)
    sigmas = karras(model, 8, grid)
    sampler, same_sigmas, report, picture = pack["RESLabCalibrate"].execute(guider, latent(pack), 0, sigmas, 8, "mine").result
    assert torch.equal(sigmas, same_sigmas) and picture.shape[0] == 1 and "test seeds" in report
    [path] = folder.glob("*.json")
    kept = json.loads(path.read_text())["provenance"]
    errors = kept["test_errors"]
    assert errors["calibrated"] < 0.8 * min(error for name, error in errors.items() if name != "calibrated")
    assert {"dpmpp_2m", "exp_res", "deis", "ipndm_v", "uni_pc_bh2", "er_sde (ODE)", "sa_solver (ODE)"} < errors.keys()
    used = [seed for first, last in kept["seeds"].values() for seed in range(first, last + 1)]
    assert len(used) == len(set(used)) == 3
    loaded, grid_of_file = pack["RESCalibrated"].execute(path.name, model).result
    assert torch.equal(grid_of_file, sigmas)

    class Noise:
        seed = 77

        def generate_noise(self, latent):
            return torch.randn(latent["samples"].shape, generator=torch.Generator().manual_seed(77))

    samples = [
        SamplerCustomAdvanced.execute(Noise(), guider, s, sigmas, latent(pack)).result[0]["samples"] for s in (sampler, loaded)
    ]
    assert torch.equal(*samples)


def test_quick_takes_four_pilots_and_less_than_four_hundred_calls(pack, folder):
    """This holds for a batch of four at 10 calls, and the report counts the calls."""
    guider, model = guided(pack)
    result = pack["RESLabCalibrate"].execute(guider, latent(pack, 4), 0, karras(model, 10), 16, "quick", effort="quick").result
    assert int(re.search(r"Calls: (\d+)", result[2])[1]) < 400 and "for 4 items" in result[2]
    with pytest.raises(ValueError, match="effort must be one of careful, quick; got 'lazy'"):
        pack["RESLabCalibrate"].execute(guider, latent(pack, 4), 0, karras(model, 10), 16, "quick", effort="lazy")


def test_pilots_in_batches_of_one_are_those_of_one_batch(pack, folder):
    """A latent of one item needs the same calls for every pilot, and the plan is equally good."""
    guider, model = guided(pack)
    result = pack["RESLabCalibrate"].execute(guider, latent(pack, 1), 0, karras(model, 5), 3, "single").result
    assert len(result[1]) == 6


def test_another_model_warns(pack, folder, caplog):
    """The log has the warning, and nothing about the same model."""
    guider, model = guided(pack)
    pack["RESLabCalibrate"].execute(guider, latent(pack, 4), 0, karras(model, 4), 4, "mine")
    with caplog.at_level(logging.WARNING):
        pack["RESCalibrated"].execute("mine_00001.json", model)
    assert not caplog.records
    other = guided(pack, "flow")[1]
    with caplog.at_level(logging.WARNING):
        pack["RESCalibrated"].execute("mine_00001.json", other)
    assert "made for" in caplog.text


def test_another_cfg_or_resolution_warns_when_it_is_used(pack, folder, caplog):
    """The log has the warning with the numbers, and nothing with the settings that the file was made for."""
    from comfy_extras.nodes_custom_sampler import Noise_RandomNoise, SamplerCustomAdvanced

    guider, model = guided(pack)
    pack["RESLabCalibrate"].execute(guider, latent(pack, 4), 0, karras(model, 4), 4, "mine", effort="quick")
    sampler, sigmas = pack["RESCalibrated"].execute("mine_00001.json", model).result
    for cfg, said in ((5.0, None), (3.0, "CFG is 3 and the file was made for 5. In measured changes of this kind")):
        with caplog.at_level(logging.WARNING):
            other = guided(pack, cfg=cfg)[0]
            SamplerCustomAdvanced.execute(Noise_RandomNoise(1), other, sampler, sigmas, latent(pack, 2))
        assert said in caplog.text if said else not caplog.records


def test_another_shift_warns_and_changes_nothing(pack, folder, caplog):
    """The warning says that the error is the same, and the samples are equal to the bit."""
    from comfy_extras.nodes_custom_sampler import Noise_RandomNoise, SamplerCustomAdvanced
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    guider, model = guided(pack, "flow")
    pack["RESLabCalibrate"].execute(guider, latent(pack, 4), 0, karras(model, 4, "simple"), 4, "mine", effort="quick")
    sampler, sigmas = pack["RESCalibrated"].execute("mine_00001.json").result
    samples = []
    for shift in (3.0, 6.0):
        with caplog.at_level(logging.WARNING):
            [guider.model_patcher] = ModelSamplingSD3().patch(model, shift)
            samples.append(
                SamplerCustomAdvanced.execute(Noise_RandomNoise(1), guider, sampler, sigmas, latent(pack, 2)).result[0]
            )
        said = "shift is 6 and the file was made for 3. The error is the same (1 times)"
        assert (said in caplog.text) == (shift == 6.0)
    assert torch.equal(*(of["samples"] for of in samples))


def test_where_no_calibration_is_there_the_node_says_how_to_get_one(pack, host):
    """It says so in the list, which would be empty, and when it runs."""
    import folder_paths

    file = pack["RESCalibrated"].GET_NODE_INFO_V1()["input"]["required"]["file"]
    [entry] = file[1]["options"] if len(file) > 1 and "options" in file[1] else file[0]
    assert not folder_paths.get_filename_list("res_calibrations") and "none yet" in entry
    with pytest.raises(ValueError, match="file is '.none yet.*run RES Lab: Calibrate, press R"):
        pack["RESCalibrated"].execute(entry)
