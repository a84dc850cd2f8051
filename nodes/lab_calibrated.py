"""The node that reads a calibration from a file."""

import logging
import os
from functools import partial

import comfy.samplers
import folder_paths
import torch
from comfy_api.v0_0_2 import io, ui

from ..samplers import calibration_file as files
from ..samplers.calibration_file import Setting, warnings
from ..samplers.lab.fingerprint import model_fingerprint
from ..samplers.method import Method
from .host import model_sampling_of, warn
from .inputs import checked, schema
from .lab_subject import CATEGORY
from .registry import as_sampler

FOLDER = "res_calibrations"
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
        lines = [f"{name}: {value}" for name, value in kept.provenance.items() if name != "model"]
        if model is not None and kept.provenance.get("model") != model_fingerprint(model):
            made_for = kept.provenance.get("model_class", "model")
            other = "other weights, patches or options than the connected model"
            warning = f"Warning: {file} was made for a {made_for!r:.60} with {other}."
            logging.warning("RES Calibrated: %s", warning)
            lines.insert(0, warning)
        sigmas = torch.tensor(kept.sigmas, dtype=torch.float32)
        return io.NodeOutput(sampler_of(kept, file), sigmas, ui=ui.PreviewText("\n".join(lines)))


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
