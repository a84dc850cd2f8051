"""Disks that refuse, in the real host: a hopeless destination is found before the first call, a later failure costs no output."""

import dataclasses
import json
import os
import types

import pytest
import torch
from pixelwise import noise_like, sample

_SIGMAS = torch.tensor([14.6, 5.0, 1.0, 0.2, 0.0])


@pytest.fixture
def run(pack, toy, latent, counted, folders):
    """run(node) -> the outputs of a short run of the node; `run.calls` counts its model calls."""
    import comfy.samplers

    subject = model, _, _ = toy(), latent(2), 0
    inputs = {
        "RESLabCalibrate": (*subject, _SIGMAS, 2, "mine"),
        "RESLabMeasure": (*subject, "euler", "karras", "4"),
        "RESLabTrace": (*subject, comfy.samplers.ksampler("euler"), _SIGMAS, "table"),
        "RESSigmasPlot": (_SIGMAS,),
    }

    def run(node, **more):
        if node == "RESLabMeasure":
            more = {"tolerance": 0.1, "reference_calls": 96, "filename_prefix": "table"} | more
        return pack[node].execute(*inputs[node], **more)

    run.calls = counted(model)
    return run


def _messages(output):
    """The texts that the node shows."""
    return "\n".join(output.ui.get("res_text", ()))


def _spoil(folder):
    """Replace an empty folder by a file, into which even root cannot write."""
    folder.rmdir()
    folder.touch()


def _full_after(monkeypatch, count):
    """A disk that has room for some files only."""
    written = []

    def fsync(descriptor):
        written.append(descriptor)
        if len(written) > count:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)


# node -> the folder it writes into, and its name in an error
DESTINATIONS = {"RESLabCalibrate": ("res_calibrations", "models/res_calibrations")}
DESTINATIONS |= dict.fromkeys(("RESLabMeasure", "RESLabTrace"), ("output", "the output folder"))


@pytest.mark.parametrize("node", DESTINATIONS)
def test_a_full_disk_and_a_destination_that_is_no_folder_are_found_before_the_first_call(run, folders, monkeypatch, node):
    folder, named = DESTINATIONS[node]
    with monkeypatch.context() as full:
        _full_after(full, 0)
        with pytest.raises(ValueError, match=f"{named} cannot be written to .No space left on device"):
            run(node)
    assert not [path for path in folders.rglob("*") if path.is_file()]
    _spoil(folders / folder)
    with pytest.raises(ValueError, match="filename_prefix 'table'" if folder == "output" else f"{named} cannot be written to"):
        run(node)
    assert not run.calls


def test_a_calibration_that_cannot_be_saved_is_returned_all_the_same(run, folders, monkeypatch, caplog, toy):
    _full_after(monkeypatch, 1)
    sampler, sigmas = _unwritten(run, folders, caplog, "No space left on device")
    assert sample(toy(), sampler, sigmas, noise_like((2, 1, 8, 8)), [[None, {}]]).isfinite().all()


def _unwritten(run, folders, caplog, reason):
    """Check a calibration that is returned with a warning and without a file; gives its SAMPLER and SIGMAS."""
    output = run("RESLabCalibrate")
    sampler, sigmas, text, picture = output.result
    assert f"Warning: the calibration 'mine' could not be written ({reason}" in _messages(output)
    assert "could not be written" in caplog.text and "test seeds" in text and "File:" not in text
    assert run.calls and picture.isfinite().all() and not list((folders / "res_calibrations").iterdir())
    return sampler, sigmas


def test_a_fit_that_its_file_has_no_room_for_is_returned_all_the_same(run, folders, monkeypatch, caplog, module):
    """The fit has a weight above a million."""
    calibration = module("samplers.lab.calibration.calibrate").Calibration
    fit = calibration.choose

    def with_a_large_weight(self):
        result = fit(self)
        first, *others = result.plan.stages
        result.plan = dataclasses.replace(result.plan, stages=(dataclasses.replace(first, scale=2e6), *others))
        return result

    monkeypatch.setattr(calibration, "choose", with_a_large_weight)
    sampler, sigmas = _unwritten(run, folders, caplog, "stages[0].scale must be a number between")
    assert callable(sampler.sampler_function) and torch.equal(sigmas, _SIGMAS)


def test_a_calibration_that_is_stopped_in_its_tests_is_kept(run, folders, monkeypatch, module):
    from comfy.model_management import InterruptProcessingException

    def stopped(self, result):
        raise InterruptProcessingException

    monkeypatch.setattr(module("samplers.lab.calibration.calibrate").Calibration, "test", stopped)
    with pytest.raises(InterruptProcessingException):
        run("RESLabCalibrate")
    assert [path.suffix for path in (folders / "res_calibrations").iterdir()] == [".json"]


def test_sound_which_has_no_height_is_shown_channel_by_channel(module):
    import comfy.latent_formats

    model = types.SimpleNamespace(model=types.SimpleNamespace(latent_format=comfy.latent_formats.StableAudio1()))
    assert module("nodes.figures").decoder(model)(torch.rand(64, 128)).shape == (64, 128, 3)


@pytest.mark.parametrize("pictures", [0, 1])
def test_a_vae_that_fails_costs_the_colours_only(run, caplog, pictures):
    class OfAnotherModel:
        decoded = 0

        def decode(self, latent):
            self.decoded += 1
            if self.decoded > pictures:
                raise RuntimeError("expected 16 channels")
            return torch.zeros(1, 8, 8, 3)

    output = run("RESLabMeasure", vae=OfAnotherModel())
    assert all(value is not None for value in output.result) and output.result[3].isfinite().all()
    assert "Warning: vae cannot decode the latent (expected 16 channels)" in _messages(output) and "vae cannot" in caplog.text


@pytest.mark.parametrize("node", ["RESLabCalibrate", "RESLabMeasure", "RESSigmasPlot"])
def test_a_preview_that_cannot_be_written_costs_no_output(run, folders, caplog, node):
    _spoil(folders / "temp")
    output = run(node)
    assert all(value is not None for value in output.result) and "images" not in output.ui
    assert "Warning: the preview in the temp folder could not be written" in _messages(output) and "preview" in caplog.text


def test_tables_of_measure_that_cannot_be_written_cost_no_output(run, folders, monkeypatch, caplog):
    _full_after(monkeypatch, 1)  # the records in the user folder are not kept either
    output = run("RESLabMeasure")
    assert all(value is not None for value in output.result)
    assert "the CSV file could not be written" in _messages(output) and "the table could not be written" in _messages(output)
    assert "results could not be kept" in output.result[4]
    assert not [path for path in folders.rglob("*") if path.is_file() and "temp" not in path.parts]


def test_trace_announces_no_file_that_was_not_written(run, folders, monkeypatch, caplog):
    _full_after(monkeypatch, 1)
    output = run("RESLabTrace")
    [text], [shown] = output.ui["text"], output.ui["res_trace"]
    assert text.startswith("Warning: the CSV file could not be written (No space left on device)") and text in caplog.text
    assert "file" not in json.loads(shown) and json.loads(shown)["warning"] == text and len(json.loads(shown)["rows"]) == 4
    assert not list((folders / "output").iterdir())


@pytest.mark.parametrize("prefix", ["CON.txt", "con", "x ", ".", "x.", "con/", "a/con/b", "a/nul.b/c", "a /b", "a./b", "lpt1\\b"])
def test_prefixes_are_refused_by_name(module, folders, prefix):
    """Another system could not give these names; or a folder is a file."""
    stem, taken = module("nodes.lab_files").output_stem, folders / "output" / "taken"
    with pytest.raises(ValueError, match="filename_prefix"):
        stem(prefix)
    assert not list(taken.parent.iterdir())
    taken.touch()
    with pytest.raises(ValueError, match="filename_prefix 'taken/x': its folder"):
        stem("taken/x")
