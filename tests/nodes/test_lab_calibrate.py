"""RES Lab: Calibrate and RES Calibrated in the real host."""

import json
import logging
import re

import pytest
import torch
from pixelwise import schedule


@pytest.fixture
def calibrate(pack, guided_digits, latent, folders):
    """calibrate(steps, batch, kind, grid, ...) -> the guider and the outputs of the node, which writes mine_00001.json."""

    def run(steps=4, batch=4, kind="eps", grid="karras", pilots=4, **options):
        guider = guided_digits(kind, 5.0)
        subject = guider, latent(batch), 0, schedule(guider.model_patcher, steps, grid)
        return guider, pack["RESLabCalibrate"].execute(*subject, pilots, "mine", **options).result

    return run


@pytest.fixture
def sampled(by_guider, latent):
    """sampled(guider, sampler, sigmas) -> samples."""
    from comfy_extras.nodes_custom_sampler import Noise_RandomNoise

    return lambda guider, *plan: by_guider(Noise_RandomNoise(77), guider, *plan, latent(2))


@pytest.mark.parametrize("kind, grid", [("eps", "karras"), ("flow", "simple")])
def test_it_beats_the_analytic_plan_and_loads_again(pack, calibrate, sampled, folders, kind, grid):
    """It is measured on seeds that had no part in the fit, and the file gives the same sampler bit for bit."""
    guider, (sampler, sigmas, report, picture) = calibrate(8, 8, kind, grid, 8)
    assert len(sigmas) == 9 and picture.shape[0] == 1 and "test seeds" in report
    [path] = (folders / "res_calibrations").glob("*.json")
    kept = json.loads(path.read_text())["provenance"]
    errors = kept["test_errors"]
    assert errors["calibrated"] < 0.8 * min(error for name, error in errors.items() if name != "calibrated")
    assert {"dpmpp_2m", "exp_res", "deis", "ipndm_v", "uni_pc_bh2", "er_sde (ODE)", "sa_solver (ODE)"} < errors.keys()
    used = [seed for first, last in kept["seeds"].values() for seed in range(first, last + 1)]
    assert len(used) == len(set(used)) == 3
    loaded, grid_of_file = pack["RESCalibrated"].execute(path.name, guider.model_patcher).result
    assert torch.equal(grid_of_file, sigmas)
    assert torch.equal(*(sampled(guider, each, sigmas) for each in (sampler, loaded)))


def test_quick_takes_four_pilots_and_less_than_four_hundred_calls(calibrate):
    _, (_, _, report, _) = calibrate(10, pilots=16, effort="quick")
    assert int(re.search(r"Calls: (\d+)", report)[1]) < 400 and "for 4 items" in report


def test_pilots_in_batches_of_one(calibrate):
    assert len(calibrate(5, 1, pilots=3)[1][1]) == 6


def test_another_model_and_another_cfg_warn(pack, calibrate, sampled, toy, guided_digits, caplog):
    """The log has the warnings with the numbers, and nothing with the model and the settings that the file was made for."""
    guider, _ = calibrate(effort="quick")
    with caplog.at_level(logging.WARNING):
        plan = pack["RESCalibrated"].execute("mine_00001.json", guider.model_patcher).result
        sampled(guider, *plan)
        assert not caplog.records
        sampled(guided_digits("eps", 3.0), *plan)
        assert "CFG is 3 and the file was made for 5. In measured changes of this kind" in caplog.text
        warning, made_for, _, errors = pack["RESCalibrated"].execute("mine_00001.json", toy("flow")).ui["res_text"]
        assert warning == caplog.records[-1].getMessage().removeprefix("RES Calibrated: ") and "Warning" in warning
        assert "4 steps" in made_for and "CFG 5" in made_for and re.search(r"calibrated 0\.\d+", errors)


def test_another_shift_warns_and_changes_nothing(pack, calibrate, sampled, caplog):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    guider, _ = calibrate(kind="flow", grid="simple", effort="quick")
    plan, model, samples = pack["RESCalibrated"].execute("mine_00001.json").result, guider.model_patcher, []
    for shift in (3.0, 6.0):
        with caplog.at_level(logging.WARNING):
            [guider.model_patcher] = ModelSamplingSD3().patch(model, shift)
            samples.append(sampled(guider, *plan))
        said = "shift is 6 and the file was made for 3. The error is the same (1 times)"
        assert (said in caplog.text) == (shift == 6.0)
    assert torch.equal(*samples)


@pytest.mark.parametrize("empty_file", [False, True])
def test_where_no_calibration_is_there_the_node_says_how_to_get_one(pack, folders, empty_file):
    """It says so in the list, which would be empty, and when it runs; a file without content is not offered."""
    if empty_file:
        (folders / "res_calibrations" / "empty_00001.json").touch()
    file = pack["RESCalibrated"].GET_NODE_INFO_V1()["input"]["required"]["file"]
    [entry] = file[1]["options"] if len(file) > 1 and "options" in file[1] else file[0]
    assert "none yet" in entry
    with pytest.raises(ValueError, match="file is '.none yet.*run RES Lab: Calibrate, press R"):
        pack["RESCalibrated"].execute(entry)
