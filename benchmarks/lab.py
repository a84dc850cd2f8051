"""The cost of RES Lab: Measure: its time on the digits, and its overhead with a slow model.

The node itself runs in this process with an empty cache. The overhead is the time outside the model divided by the time in the
model. It includes planning, sampling between calls, distances, files and pictures. The slow model takes 50 ms per call.
"""

import tempfile
import time

from . import host_samplers, pages

PAGE, PARTS, MINUTES = None, (), 2
TIMES = True
SAMPLERS = "exp_res, exp_res_2m, res_multistep, dpmpp_2m, deis, uni_pc"
BUDGETS = "6, 8, 10, 15, 20"
ITEMS = 64
SLEEP = 0.05


def measure(schedulers: str, kind: str = "eps", sleep: float = 0.0, items: int = ITEMS) -> tuple[float, float, int]:
    """One run of the node on digits with CFG 5.

    Returns:
        Total seconds, seconds in the model, and the number of model calls.
    """
    import comfy.patcher_extension
    import folder_paths
    from comfy_extras.nodes_custom_sampler import CFGGuider

    import nodes

    pack = nodes.NODE_CLASS_MAPPINGS
    model = pack["RESToyModel"].execute("digits", {"kind": kind, "shift": 3.0}, 0.1).result[0].clone()
    spent = [0.0, 0]

    def timed(executor, *args, **kwargs):
        started = time.perf_counter()
        time.sleep(sleep)
        denoised = executor(*args, **kwargs)
        spent[0] += time.perf_counter() - started
        spent[1] += 1
        return denoised

    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREDICT_NOISE, "timed", timed)
    positive, negative = (pack["RESToyCondition"].execute({"data": "digits", "class": digit}).result[0] for digit in ("3", "any"))
    guider = CFGGuider.execute(model, positive, negative, 5.0).result[0]
    latent = pack["RESToyLatent"].execute("digits", items).result[0]
    with tempfile.TemporaryDirectory() as folder:
        folder_paths.set_output_directory(folder)
        folder_paths.set_user_directory(folder)
        started = time.perf_counter()
        pack["RESLabMeasure"].execute(guider, latent, 1, SAMPLERS, schedulers, BUDGETS)
        return time.perf_counter() - started, *spent


def report(quick: bool = False) -> pages.Report:
    """The table: total time, time in the model, model calls, and overhead."""
    host_samplers.load()
    settings = [("eps", "karras", 0.0), ("flow", "simple", 0.0), ("eps", "karras, logsnr_arctan", 0.0), ("eps", "karras", SLEEP)]
    rows = []
    for kind, schedulers, sleep in settings[: 1 if quick else None]:
        seconds, in_model, calls = measure(schedulers, kind, sleep, 4 if quick else ITEMS)
        name = f"digits {kind}" + (f", {SLEEP * 1000:g} ms more per call" if sleep else "")
        rows.append([name, schedulers, f"{seconds:.1f}", f"{in_model:.1f}", str(calls), f"{seconds / in_model - 1.0:.1%}"])
    return {"": pages.table(["model", "schedulers", "seconds", "in the model", "calls", "overhead"], rows, 2)}
