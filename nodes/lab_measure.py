"""The node that measures samplers and schedules on the user's own model."""

import comfy.model_management
import numpy as np
import torch
from comfy_api.v0_0_2 import io

from ..samplers.catalogue import METHODS
from ..samplers.lab.measure import Cell, Measurement, short
from ..samplers.lab.measure_picture import picture
from ..samplers.lab.measure_report import csv_rows, table
from ..samplers.lab.reference import CAP, FIRST, TOLERANCE
from ..samplers.lab.strip import strip
from ..samplers.lab.verdict import Verdict, judge
from .figures import as_image, check_matplotlib, decoder
from .host import send_text, sigma_range, time_map
from .inputs import checked, choice_input, float_input, schema
from .lab_entries import BY_HAND, PRESETS, baseline_pair, sampler_entries, schedules, with_preset
from .lab_entries import best_at as read_best_at
from .lab_entries import budgets as read_budgets
from .lab_files import Saving, check_writable, output_stem, store, write_csv, write_text
from .lab_progress import CallProgress, node_id, titles_of_inputs
from .lab_subject import CATEGORY, NeedsPrompt, Subject, filename_input, subject_inputs
from .registry import as_sampler

_SAMPLERS = [f"sampler_{n}" for n in (1, 2, 3)]
_SIGMAS = [f"sigmas_{n}" for n in (1, 2, 3)]
_PRESET = next(iter(PRESETS.values()))  # the preset of a new node
_NAMES = "Names between commas, of this pack, of ComfyUI or of any other pack; * stands for any letters, as in "
_TITLE = " If you have changed the title of its node, the results show it under this title."
_SAMPLER = "One more sampler, with its own options." + _TITLE
_SCHEDULE = (
    "One more schedule, which must end at 0. Its curve is resampled where a budget needs another number of steps." + _TITLE
)
_STRIP = "The first item as a grid of pairs by model calls, with the converged solution at the end of each row."
_TOOLTIPS = {
    "samplers": _NAMES + "dpmpp_*. SDE samplers are measured apart from the others, as distributions.",
    "schedulers": _NAMES + "logsnr_*.",
    "budgets": "Numbers of model calls to compare at, between commas. Every pair takes the most steps that fit: half the "
    "number where a step makes two calls.",
    "best_at": "Maximum number of model calls of the best pair, which is output as SAMPLER and SIGMAS. 0 means the largest "
    "budget.",
    "vae": "Decodes the images of the strip. Without a VAE the strip shows the latent's own colours.",
    "tolerance": "How closely the reference should match a run with half the steps, for 90 % of the items. If it does not "
    "within reference_calls, errors below three times the difference are not ranked.",
    "reference_calls": "Maximum number of model calls of the reference's finest level. A network that is rough may need 3000 or "
    "more.",
    "fresh": "Measure everything again instead of using the results in user/res_lab. This is needed after a change of a "
    "patch that the node cannot see; the node says so where such patches exist.",
    "baseline": "What the best pair is compared with: a sampler, or a pair such as dpmpp_2m + karras. Empty means the first "
    "sampler; without a scheduler it is the first of the schedulers.",
    "preset": "Sets budgets and tolerance, and repeats the latent to at least 4 items for a quick look and 16 for careful. "
    "By hand uses the inputs as they are.",
}
_FATAL = (comfy.model_management.InterruptProcessingException, torch.cuda.OutOfMemoryError, NeedsPrompt)


class RESLabMeasure(io.ComfyNode):
    """The node that measures errors at equal model calls."""

    @classmethod
    def define_schema(cls):
        presets = {name: {"budgets": of.budgets, "tolerance": of.tolerance} for name, of in PRESETS.items()}
        return schema(
            node_id="RESLabMeasure",
            display_name="RES Lab: Measure",
            category=CATEGORY,
            description="Which sampler is best for this model? Solves the ODE from your noise to convergence, runs every sampler "
            "on every schedule at equal model calls, and says how far each result is from the solution. Finished results are "
            "kept on disk, and after an interrupt the next run continues from there.",
            aliases="res, lab, measure, compare, benchmark, xy plot, sampler, scheduler, compare samplers, sampler comparison",
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                *subject_inputs(),
                io.String.Input("samplers", multiline=True, default="dpmpp_2m, exp_res, exp_res_2m, res_multistep, deis, uni_pc"),
                io.String.Input("schedulers", multiline=True, default="simple, logsnr_arctan"),
                io.String.Input("budgets", default=_PRESET.budgets),
                io.Int.Input("best_at", default=0, min=0, max=10000, advanced=True),
                *(io.Sampler.Input(name, optional=True, tooltip=_SAMPLER) for name in _SAMPLERS),
                *(io.Sigmas.Input(name, optional=True, tooltip=_SCHEDULE) for name in _SIGMAS),
                io.Vae.Input("vae", optional=True),
                float_input("tolerance", _PRESET.tolerance, 1e-6, 0.1, 1e-6, advanced=True),
                io.Int.Input("reference_calls", default=CAP, min=2 * FIRST, max=100000, advanced=True),
                filename_input("res_lab/measure", "Prefix for the two table files, CSV and Markdown, in the output folder."),
                io.Boolean.Input("fresh", default=False, advanced=True),
                io.String.Input("baseline", default="", optional=True, advanced=True),
                choice_input("preset", [*PRESETS, BY_HAND], optional=True, extra_dict={"presets": presets}),
            ],
            outputs=[
                io.Sampler.Output(tooltip="The sampler of the best pair."),
                io.Sigmas.Output(tooltip="The SIGMAS of the best pair."),
                io.Image.Output(display_name="picture", tooltip="Error against model calls, with a line for every pair."),
                io.Image.Output(display_name="strip", tooltip=_STRIP),
                io.String.Output(display_name="table", tooltip="The verdict and every number, as Markdown."),
                io.String.Output(display_name="verdict", tooltip="The best pair and what it saves, in one sentence."),
            ],
            tooltips=_TOOLTIPS,
        )

    @classmethod
    @checked
    def execute(
        cls, model, latent_image, seed, samplers, schedulers, budgets, best_at=0, tolerance=TOLERANCE, reference_calls=CAP,
        filename_prefix="res_lab/measure", fresh=False, vae=None, baseline="", preset=BY_HAND, **wired,
    ) -> io.NodeOutput:  # fmt: skip
        """(SAMPLER, SIGMAS, picture, strip, table, verdict).

        Raises:
            RuntimeError: matplotlib is not installed.
            ValueError: a name is unknown, a budget is below 1, or SIGMAS cannot be measured, before anything is sampled; or the
                reference is not finite, or the results cannot be distinguished.
        """
        check_matplotlib("RES Lab: Measure")
        latent_image, budgets, tolerance = with_preset(preset, latent_image, budgets, tolerance)
        subject = Subject(model, latent_image, seed)
        time = time_map(subject.model_sampling)
        titles = titles_of_inputs(cls)
        entries = sampler_entries(samplers, {name: wired.get(name) for name in _SAMPLERS}, titles)
        grids = {name: wired.get(name) for name in _SIGMAS}
        grids = schedules(schedulers, grids, subject.model_sampling, time, titles)
        calls, stem = read_budgets(budgets), output_stem(filename_prefix)
        check_writable(stem.parent, "the output folder")
        within, against = read_best_at(best_at, calls), baseline_pair(baseline, entries, grids)
        reference_sampler = as_sampler(METHODS["exp_res_3mc"])
        kept, span = store(), sigma_range(subject.model_sampling)
        measurement = Measurement(subject, reference_sampler, time, span, kept, tolerance, reference_calls, _FATAL, fresh)
        unseen = [subject.unseen] if subject.unseen else []
        measurement.notes += unseen
        send_text("counting the model calls of every sampler", node_id(cls))
        planned = measurement.plan(entries, grids, calls)
        expected = measurement.remaining(planned) + 3 * FIRST
        progress = CallProgress(node_id(cls), lambda: expected, subject.guider)
        subject.on_call = progress.call
        cells, verdict, saving = [], None, Saving("RES Lab: Measure")
        try:
            for cell in measurement.cells(planned):
                cells.append(cell)
                progress.show(f"{len(cells)} of {len(planned)} cells", cell.first)
            verdict = judge(cells, measurement.references, within, against, measurement.notes)
        finally:
            notes = [*measurement.notes, *([kept.trouble] if kept.trouble else [])]
            text = table(cells, measurement.references, notes, verdict)
            if cells:
                saving("the CSV file", write_csv, stem.with_name(stem.name + ".csv"), csv_rows(cells, measurement.references))
                saving("the table", write_text, stem.with_name(stem.name + ".md"), text)
        sampler = next(entry.sampler for entry in entries if entry.name == verdict.best.sampler)
        images = _pictures(cells, measurement.references, subject.guider.model_patcher, vae, verdict, saving)
        preview = saving.preview(images[0], cls)
        progress.finish()
        ui = {**preview, **saving.shown(verdict.sentence, *verdict.remarks, *unseen)}
        return io.NodeOutput(sampler, verdict.best.sigmas.clone(), *images, text, verdict.sentence, ui=ui)


def _pictures(cells: list[Cell], references: dict, model, vae, verdict: Verdict, saving: Saving) -> list[torch.Tensor]:
    """[picture, strip] as IMAGEs; if the VAE fails, the strip shows the latent's colours."""
    latent = next(iter(references.values())).samples[0]

    def drawn(decode) -> np.ndarray:
        return strip(cells, references, lambda cell: decode(cell.first), decode(latent), verdict)

    try:
        shown = drawn(decoder(model, vae))
    except comfy.model_management.InterruptProcessingException:
        raise
    except Exception as error:  # a VAE of another model or a lack of memory may raise anything
        saving.warn(f"vae cannot decode the latent ({short(error)}), so the strip shows the latent's own colours.")
        shown = drawn(decoder(model))
    return [as_image(picture(cells, references, verdict)), as_image(shown)]
