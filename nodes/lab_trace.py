"""RES Lab: Trace: one sampling run, measured step by step while it runs."""

import json

import folder_paths
import latent_preview
from comfy_api.v0_0_2 import io

from ..samplers.grid import grid_steps, read_sigmas
from ..samplers.lab.trace import Trace, as_table
from ..samplers.lab.trace_picture import picture
from .calls import chooses_own_grid, with_shares
from .figures import as_image, check_matplotlib
from .host import prompt_server, time_map
from .inputs import checked, schema
from .lab_files import Saving, check_writable, output_stem, write_csv
from .lab_progress import node_id, workflow_id
from .lab_subject import CATEGORY, Subject, filename_input, subject_inputs

EVENT = "comfyui_res.trace"


class RESLabTrace(io.ComfyNode):
    """The node that samples and measures every step."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESLabTrace",
            display_name="RES Lab: Trace",
            category=CATEGORY,
            description="Samples as SamplerCustomAdvanced does and measures every step, shown in the node when it ends: the "
            "change of the denoised output, the local errors of the sampler and of a first-order step, smoothness in sigma and "
            "in lambda, model calls and their time, and which rules exp_res chose.",
            aliases="res, lab, trace, measure, local error, steps, profile, benchmark, csv",
            is_output_node=True,
            inputs=[
                *subject_inputs(),
                io.Sampler.Input("sampler", tooltip="Any sampler of this pack, of ComfyUI or of another pack."),
                io.Sigmas.Input("sigmas", tooltip="Two or more values, falling, or rising for inversion."),
                filename_input("res_lab/trace", "Prefix for the CSV file in the output folder, as in Save Image."),
            ],
            outputs=[
                io.Latent.Output(display_name="output", tooltip="The same latent as from SamplerCustomAdvanced, bit for bit."),
                io.Image.Output(display_name="picture", tooltip="What was measured, over the steps."),
                io.String.Output(display_name="table", tooltip="A row for every step, in Markdown."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
        )

    @classmethod
    @checked
    def execute(cls, model, latent_image, seed, sampler, sigmas, filename_prefix) -> io.NodeOutput:
        """(LATENT, IMAGE of shape (1, height, width, 3), STRING); the CSV file is written also if the run is interrupted.

        Raises:
            ValueError: an input that the lab cannot measure or save to.
            RuntimeError: matplotlib is not installed.
        """
        subject = Subject(model, latent_image, seed)
        time = time_map(subject.model_sampling)
        if not grid_steps(sigmas, time):
            raise ValueError(
                f"sigmas must hold two different sigmas or more, got {sigmas.tolist()!s:.60}; there is no step to trace."
            )
        check_matplotlib("RES Lab: Trace")
        stem = output_stem(filename_prefix)
        check_writable(stem.parent, "the output folder")
        file = stem.with_name(f"{stem.name}.csv")
        steps, send = len(sigmas) - 1, _sender(cls)

        def on_row(row):
            send({"row": row.as_json(), "steps": steps})

        trace = Trace(read_sigmas(sigmas), time, chooses_own_grid(sampler), on_row)
        show = latent_preview.prepare_callback(subject.guider.model_patcher, steps)

        def callback(step, denoised, x, total):
            trace.stepped(step)
            show(step, denoised, x, total)

        saving, saved = Saving("RES Lab: Trace"), {}
        try:
            run = subject.run(with_shares(sampler, trace.chose), sigmas, on_call=trace.call, callback=callback)
        finally:  # interrupted or failed: keep what was measured until then
            trace.finish()
            if trace.rows:
                if saving("the CSV file", write_csv, file, [row.as_csv() for row in trace.rows]):
                    saved = {"file": file.relative_to(folder_paths.get_output_directory()).as_posix()}
                else:
                    saved = {"warning": saving.warnings[0]}
                send(saved)
        shown = {"rows": [row.as_json() for row in trace.rows], "steps": steps, **saved}
        ui = {"res_trace": [json.dumps(shown)], "text": list(saved.values())}
        return io.NodeOutput(run.latent, as_image(picture(trace.rows)), as_table(trace.rows), ui=ui)


def _sender(node):
    """A function that sends a dictionary to the running node in the browser and workflow that queued it, if any."""
    server, of = prompt_server(), node_id(node)
    if server is None or server.client_id is None or of is None:  # for the host, no client means all clients
        return lambda data: None
    whose = {"node": of, "workflow": workflow_id(node)}
    return lambda data: server.send_sync(EVENT, {**whose, **data}, server.client_id)
