"""The node that fits a solver to a model, guidance and SIGMAS, and keeps it as a file."""

import logging
import math
import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import comfy.samplers
import folder_paths
import torch
from comfy.model_management import InterruptProcessingException
from comfy_api.v0_0_2 import io

from ..samplers import calibration_file as files
from ..samplers.lab.fingerprint import model_fingerprint
from ..samplers.lab.reference import reference_floor
from .figures import as_image, check_matplotlib
from .host import send_text, sigma_range, time_map
from .inputs import checked, choice_input, schema
from .lab_calibrated import FOLDER, sampler_of, shift_of
from .lab_files import Saving, check_writable
from .lab_progress import CallProgress, duration, node_id
from .lab_subject import CATEGORY, Subject, subject_inputs
from .planning import watched_by_host

if TYPE_CHECKING:
    from ..samplers.lab.calibration.results import Calibrated, Settings

EFFORTS = ("careful", "quick")
# Good samplers with one call per step; SDE samplers have options that switch off their noise.
_RIVALS = ("exp_res", "dpmpp_2m", "deis", "ipndm", "ipndm_v", "uni_pc_bh2")
_WITHOUT_NOISE = {
    "er_sde (ODE)": ("er_sde", {"s_noise": 0.0, "noise_scaler": lambda x: x}),
    "sa_solver (ODE)": ("sa_solver", {"s_noise": 0.0, "tau_func": lambda sigma: 0.0}),
}


class RESLabCalibrate(io.ComfyNode):
    """The node that fits a solver."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESLabCalibrate",
            display_name="RES Lab: Calibrate",
            category=CATEGORY,
            description="Fits a solver to a model, its prompts and CFG, and SIGMAS: the few numbers by which every step combines "
            "the latent and the last outputs, so that pilot runs end where the converged solution does. It needs no training and "
            "does not change the model. The fit takes some hundreds of model calls once; afterwards every step makes one call.",
            aliases="res, calibrate, fit, solver, optimize, sampler",
            is_output_node=True,
            inputs=[
                *subject_inputs(),
                io.Sigmas.Input("sigmas"),
                io.Int.Input("pilots", default=16, min=2, max=256),
                io.String.Input("name", default="calibration"),
                io.Boolean.Input("move_grid", default=False, advanced=True),
                choice_input("effort", EFFORTS, optional=True),
            ],
            outputs=[
                io.Sampler.Output(tooltip="The fitted solver. It runs only on the SIGMAS of this node."),
                io.Sigmas.Output(tooltip="The grid that the SAMPLER was fitted on."),
                io.String.Output(display_name="report", tooltip="The errors on test seeds, and what was chosen."),
                io.Image.Output(display_name="picture", tooltip="The errors on test seeds as bars."),
            ],
            hidden=[io.Hidden.unique_id],
            tooltips={
                "sigmas": "The grid to fit on, falling. The SAMPLER runs only on it.",
                "pilots": "Number of trajectories to fit to, in batches of the latent's size. Equal numbers of items select "
                "the fit and test it. With fewer than 16 a fit under strong guidance may be good only by chance. The effort "
                "quick always uses 4.",
                "name": "Name of the file in models/res_calibrations. Files are numbered and never overwritten.",
                "move_grid": "Also search for better SIGMAS with the same number of steps. The search takes up to as long as the "
                "fit. The SIGMAS output is then another grid.",
                "effort": "careful: the number of pilots above, more candidates and a finer reference; about 600 to 1,400 "
                "model calls at 10 steps with 16 pilots in one batch. quick: 4 pilots and under 400 calls; it gains less and "
                "more often keeps the solver without a fit.",
            },
        )

    @classmethod
    @checked
    def execute(cls, model, latent_image, seed, sigmas, pilots, name, move_grid=False, effort=EFFORTS[0]) -> io.NodeOutput:
        """SAMPLER, SIGMAS, report and picture.

        Raises:
            RuntimeError: matplotlib is not installed.
            ValueError: the name, model, latent or SIGMAS cannot be used, before the first call; or the reference does not
                converge.
        """
        from ..samplers.lab.calibration.calibrate import Calibration  # noqa: PLC0415 (a tenth of the pack's import)
        from ..samplers.lab.calibration.results import errors_list, picture, summary  # noqa: PLC0415

        check_matplotlib("RES Lab: Calibrate")
        files.check_name(name)
        folder = folder_paths.get_folder_paths(FOLDER)[0]
        check_writable(Path(folder), f"models/{FOLDER}")
        subject, settings = Subject(model, latent_image, seed), _settings(effort, pilots, move_grid)
        sampling = subject.model_sampling
        kind = time_map(sampling)
        floor = reference_floor(sigma_range(sampling), kind)
        made_for, node = _made_for(subject), node_id(cls)

        def problem(sampler, sigmas, seed):
            sampler = sampler if isinstance(sampler, comfy.samplers.Sampler) else comfy.samplers.KSAMPLER(sampler)
            return subject.run(sampler, sigmas, seed).samples

        fatal = (InterruptProcessingException, torch.cuda.OutOfMemoryError)
        with watched_by_host():
            calibration = Calibration(problem, sigmas, kind, floor, seed, subject.shape[0], settings, rivals(), fatal)
        seconds = _seconds_per_call(problem, sigmas, seed)
        announced = " to ".join(map(str, calibration.cost))
        announcement = f"{announced} model calls, {' to '.join(duration(calls * seconds) for calls in calibration.cost)}"
        send_text(announcement, node)
        progress = CallProgress(node, lambda: calibration.expected, subject.guider, announcement)
        subject.on_call = progress.call
        result, saving = calibration.choose(), Saving("RES Lab: Calibrate")
        try:
            calibration.test(result)
        finally:  # a run that is stopped or fails in its tests has its plan already
            kept = files.CalibrationFile.of(result.plan, result.sigmas, {**made_for, **_provenance(result, settings)})
            path = saving(f"the calibration {name!r}", files.write, kept, folder, name)
            logging.info("RES Lab: Calibrate wrote %s.", path.name if path else "no file")
        items = len(result.seeds.test) * subject.shape[0]
        calls = f"Calls: {progress.calls}, announced as {announced}, {duration(progress.seconds)}."
        calls += f" File: {path.name}." if path else ""
        said = summary(result, items)
        image = as_image(picture(result))
        preview = saving.preview(image, cls)
        progress.finish()
        shown = {**preview, **saving.shown(*said.splitlines(), calls)}  # in the node the picture shows the errors
        report = f"{said}\n\n{errors_list(result, items)}\n\n{calls}"
        return io.NodeOutput(sampler_of(kept, name), result.sigmas, report, image, ui=shown)


def _seconds_per_call(problem: Callable, sigmas: torch.Tensor, seed: int) -> float:
    """The duration of the second of two model calls, because the first one may load the model."""
    seconds = 0.0

    def probe(model, x, sigmas, extra_args=None, callback=None, disable=None):
        nonlocal seconds
        for _ in range(2):
            begun = time.monotonic()
            model(x, sigmas[:1].to(x).repeat(len(x)), **(extra_args or {}))
            seconds = time.monotonic() - begun
        return x

    problem(probe, sigmas, seed)
    return seconds


def rivals() -> dict[str, comfy.samplers.KSAMPLER]:
    """The samplers that a calibration is compared with, by name."""
    ours = {name: comfy.samplers.sampler_object(name) for name in _RIVALS}
    return ours | {name: comfy.samplers.ksampler(*of) for name, of in _WITHOUT_NOISE.items()}


def _settings(effort: str, pilots: int, move_grid: bool) -> "Settings":
    """Settings of one of EFFORTS."""
    from ..samplers.lab.calibration.results import CAREFUL, QUICK  # noqa: PLC0415

    if effort == "quick":
        return replace(QUICK, move_grid=move_grid)
    return replace(CAREFUL, pilots=pilots, selection=pilots, test=pilots, move_grid=move_grid)


def _made_for(subject: Subject) -> dict:
    guider = subject.guider
    return {
        "model": model_fingerprint(guider.model_patcher),
        "model_class": type(guider.model_patcher.model).__name__,
        "cfg": float(getattr(guider, "cfg", 1.0)),
        "resolution": list(subject.latent["samples"].shape),
        "shift": shift_of(subject.model_sampling),
        "pack": _pack_version(),
    }


def _provenance(result: "Calibrated", settings: "Settings") -> dict:
    return {
        "steps": len(result.sigmas) - 1,
        "pilots": settings.pilots,
        "seeds": {name: [seeds[0], seeds[-1]] for name, seeds in result.seeds._asdict().items()},
        "base": result.base,
        "kept": result.kept,
        "ridge": result.fitting.ridge if result.fitting else "none, the analytic plan was not beaten",
        "history": result.fitting.history if result.fitting else 0,
        "moved_grid": result.grid_changed,
        "reference_steps": result.reference.steps,
        "reference_moved": result.reference.last_change,
        # JSON has no infinity, the error of a sampler that diverges
        "test_errors": {name: e.median if math.isfinite(e.median) else str(e.median) for name, e in result.test.items()},
    }


@cache
def _pack_version() -> str:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    return re.search(r'^version = "([^"]+)"', text, re.MULTILINE).group(1)
