"""The cost of splitting a schedule over two KSampler (Advanced) nodes: the second half starts without a history.

The table gives the median relative distance between the split run and the whole run, and the errors of both.
"""

import torch

from benchmarks import host_samplers, pages
from benchmarks.cases import ROUGH, Case, standard_cases
from samplers.lab.distances import relative_distance

PAGE, PARTS, MINUTES = None, (), 1
SAMPLERS = (
    "exp_res_2s", "exp_res_3s", "exp_res", "exp_res_2m", "exp_res_3m", "exp_res_2mc", "exp_res_3mc", *host_samplers.NODE_FORMS,
    "dpmpp_2m", "uni_pc",
)  # fmt: skip
GRIDS = {"digits": "karras", "digits CFG 5": "karras", "digits flow": "logsnr_uniform", "digits flow CFG 4": "logsnr_uniform"}


def cut(case: Case, sampler, sigmas: torch.Tensor, at: int) -> tuple[float, float, float]:
    """Medians over items: distance between the run split at step `at` and the whole run, and the errors of both."""
    whole, _ = case.sample(sampler, sigmas)
    first, _ = case.sample(sampler, sigmas[: at + 1])
    second, _ = case.sample(sampler, sigmas[at:], first)
    distances = relative_distance(second, whole), case.error(whole), case.error(second)
    return tuple(float(v.median()) for v in distances)


def table(cases: list[Case], steps: int = 20) -> str:
    """Markdown: every sampler on every case, `steps` steps split in the middle."""
    rows = []
    for name in SAMPLERS:
        result = (cut(case, host_samplers.sampler(name), case.grid(GRIDS[case.name], steps), steps // 2) for case in cases)
        rows.append([name, *("{:.4f} ({:.4f}, {:.4f})".format(*medians) for medians in result)])
    return pages.table(["sampler", *(f"{case.name}, {GRIDS[case.name]}" for case in cases)], rows)


def report(quick: bool = False) -> pages.Report:
    """The table: distance between split and whole run (error of the whole run, error of the split run)."""
    cases = standard_cases(4, converging=ROUGH) if quick else standard_cases()
    return {"": table([case for case in cases if case.name in GRIDS], *[6] * quick)}
