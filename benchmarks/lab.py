"""The cost of RES Lab: Measure: its time on the digits, and its overhead with a slow model.

The node itself runs in this process with an empty cache. The overhead is the time outside the model divided by the time in the
model. It includes planning, sampling between calls, distances, files and pictures. The slow model takes 50 ms per call.
"""

import contextlib
import tempfile
import time
from unittest.mock import patch

from . import host_samplers, pages

PAGE, PARTS, MINUTES = None, (), 2
TIMES = True
SAMPLERS = "exp_res, exp_res_2m, res_multistep, dpmpp_2m, deis, uni_pc"
BUDGETS = "6, 8, 10, 15, 20"
ITEMS = 64
SLEEP = 0.05


@contextlib.contextmanager
def own_folders():
    """The lab's nodes write into temporary folders."""
    import folder_paths

    with tempfile.TemporaryDirectory() as folder, patch.multiple(folder_paths, output_directory=folder, user_directory=folder):
        yield


def guider_and_latent(model, data: str, label: str, cfg: float, items: int):
    """GUIDER towards a class of the pack's pictures, and LATENT."""
    from comfy_extras.nodes_custom_sampler import CFGGuider

    conditions = [host_samplers.node("RESToyCondition", {"data": data, "class": name})[0] for name in (label, "any")]
    return CFGGuider.execute(model, *conditions, cfg).result[0], host_samplers.node("RESToyLatent", data, items)[0]


def measure(schedulers: str, kind: str = "eps", sleep: float = 0.0, items: int = ITEMS) -> tuple[float, float, int]:
    """One run of the node on digits with CFG 5.

    Returns:
        Total seconds, seconds in the model, and the number of model calls.
    """
    import comfy.patcher_extension

    model = host_samplers.node("RESToyModel", "digits", {"kind": kind, "shift": 3.0}, 0.1)[0].clone()
    spent = [0.0, 0]

    def timed(executor, *args, **kwargs):
        started = time.perf_counter()
        time.sleep(sleep)
        denoised = executor(*args, **kwargs)
        spent[0] += time.perf_counter() - started
        spent[1] += 1
        return denoised

    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREDICT_NOISE, "timed", timed)
    guider, latent = guider_and_latent(model, "digits", "3", 5.0, items)
    with own_folders():
        started = time.perf_counter()
        host_samplers.node("RESLabMeasure", guider, latent, 1, SAMPLERS, schedulers, BUDGETS)
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
