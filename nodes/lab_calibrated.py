"""The node that reads a calibration from a file."""

import logging
import os
from functools import partial

import comfy.samplers
import folder_paths
import torch
from comfy_api.v0_0_2 import io

from ..samplers import calibration_file as files
from ..samplers.calibration_file import Setting, number_or_none, warnings
from ..samplers.lab.fingerprint import model_fingerprint
from ..samplers.method import Method
from .host import model_sampling_of, warn
from .inputs import checked, schema
from .lab_subject import CATEGORY
from .registry import as_sampler

FOLDER = "res_calibrations"
_BEST = 4  # errors that the node shows
_NONE = "(none yet: run RES Lab: Calibrate)"

folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))


class RESCalibrated(io.ComfyNode):
    """A calibrated solver from a file."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESCalibrated",
            display_name="RES Calibrated",
            category=CATEGORY,
            description="A SAMPLER that RES Lab: Calibrate has fitted, with the SIGMAS it was fitted on, from "
            "models/res_calibrations.",
            aliases="res, calibrate, load, sampler",
            inputs=[
                io.Combo.Input("file", options=_files() or [_NONE], tooltip="A file in models/res_calibrations."),
                io.Model.Input("model", optional=True),
            ],
            outputs=[
                io.Sampler.Output(tooltip="The fitted solver. It runs only on the SIGMAS of this node."),
                io.Sigmas.Output(tooltip="The grid that the SAMPLER was fitted on."),
            ],
            tooltips={
                "model": "The model that will be sampled. The node then says whether the file was made for another model or "
                "with other patches."
            },
        )

    @classmethod
    def fingerprint_inputs(cls, file, model=None):
        """The time of the file's last change, so that the node runs again when the file has changed."""
        path = folder_paths.get_full_path(FOLDER, file)
        return os.stat(path).st_mtime_ns if path else file

    @classmethod
    @checked
    def execute(cls, file, model=None) -> io.NodeOutput:
        """SAMPLER and SIGMAS.

        Raises:
            ValueError: the file is not a calibration, or there is none to choose.
            FileNotFoundError: the file no longer exists.
        """
        if file == _NONE:
            raise ValueError(f"file is {file!r}: run RES Lab: Calibrate, press R for the new list of files, and choose a file.")
        kept = files.read(folder_paths.get_full_path_or_raise(FOLDER, file))
        lines = _about(kept)
        if model is not None and kept.provenance.get("model") != model_fingerprint(model):
            other = "other weights, patches or options than the connected model"
            warning = f"Warning: {file} was made for a {_name(kept, 'model_class', 'model')} with {other}."
            logging.warning("RES Calibrated: %s", warning)
            lines.insert(0, warning)
        sigmas = torch.tensor(kept.sigmas, dtype=torch.float32)
        return io.NodeOutput(sampler_of(kept, file), sigmas, ui={"res_text": lines})


def _about(kept: files.CalibrationFile) -> list[str]:
    """What the file was made for, what it is, and the least errors; values of other types than the node writes are left out."""
    said, made_for = kept.provenance, Setting.of(kept.provenance)
    settings = [f"{len(kept.sigmas) - 1} steps"]
    settings += [] if made_for.shape is None else [f"latents of {' x '.join(map(str, made_for.shape[-2:]))}"]
    settings += [] if made_for.cfg is None else [f"CFG {made_for.cfg:g}"]
    settings += [] if made_for.shift is None else [f"shift {made_for.shift:g}"]
    base, ridge = _name(kept, "base", "a plan"), number_or_none(said.get("ridge"))
    plan = f"Fitted from {base} with ridge {ridge:g}" if ridge is not None else f"{base} without a fit"
    lines = [f"Made for {_name(kept, 'model_class', 'a model')}: {', '.join(settings)}.", f"{plan}."]
    errors = said.get("test_errors")
    errors = {name: number_or_none(error) for name, error in errors.items()} if isinstance(errors, dict) else {}
    best = sorted((error, name) for name, error in errors.items() if error is not None)
    best = [of for place, of in enumerate(best) if place < _BEST or of[1] == "calibrated"]
    if best:
        names = {"base": "the plan before the fit"}
        listed = ", ".join(f"{names.get(name, name):.40} {error:.3g}" for error, name in best)
        lines.append(f"Errors on test seeds: {listed}.")
    return lines


def _name(kept: files.CalibrationFile, key: str, otherwise: str) -> str:
    """A name in the file in one short line, whatever a stranger wrote there."""
    return f"{kept.provenance.get(key, otherwise)!r:.60}".strip("'")


def _files() -> list[str]:
    """Names of calibrations, without empty files, which interrupted copies leave."""
    names = [name for name in folder_paths.get_filename_list(FOLDER) if name.endswith(".json")]
    return [name for name in names if (path := folder_paths.get_full_path(FOLDER, name)) and os.path.getsize(path)]


def sampler_of(kept: files.CalibrationFile, name: str) -> comfy.samplers.KSAMPLER:
    """The SAMPLER of a calibration, which warns if it is used with other settings than those of the fit."""
    return as_sampler(Method("calibrated", "", function=partial(_sample, kept, name)))


def _sample(kept, name, model, x, *args, **options) -> torch.Tensor:
    used = Setting(cfg_of(model), tuple(x.shape[1:]), shift_of(model_sampling_of(model)))
    if texts := warnings(Setting.of(kept.provenance), used):
        warn(f"{name}: {' '.join(texts)}")
    return kept.sample(model, x, *args, **options)


def cfg_of(model) -> float | None:
    """The CFG of the denoiser that a sampler is called with; None if it has none."""
    cfg = getattr(getattr(model, "inner_model", None), "cfg", None)
    return float(cfg) if isinstance(cfg, int | float) else None


def shift_of(model_sampling) -> float | None:
    """The shift of a flow model's schedule; None for other models."""
    shift = getattr(model_sampling, "shift", None)
    return float(shift) if isinstance(shift, int | float) else None
