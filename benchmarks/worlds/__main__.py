"""Measures samplers during development, on the development seeds.

.host/venv/bin/python -m benchmarks.worlds exp_res exp_res_2mc            # any registered names
.host/venv/bin/python -m benchmarks.worlds exp_res --cases photo "latent 64" --calls 6 10 --rows
"""

import argparse

import torch

from .. import host_samplers
from . import judged
from .scores import comparison, grouped, summary, table
from .world_cases import CALLS, DEVELOPMENT_SEED, REPORT_SEED, cases


def main() -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worlds", description=__doc__.splitlines()[0])
    forms = "names registered with ComfyUI, and deterministic forms such as 'er_sde (ODE)'"
    parser.add_argument("samplers", nargs="*", default=["exp_res"], help=forms)
    parser.add_argument("--cases", nargs="*", default=(), metavar="WORD", help="only cases whose name holds one of these words")
    parser.add_argument("--grids", nargs="*", metavar="NAME", help="these schedulers instead of the case's own")
    parser.add_argument("--calls", nargs="*", type=int, choices=CALLS, help="only these numbers of calls")
    parser.add_argument("--rows", action="store_true", help="print every row, the worst first")
    parser.add_argument("--report-seeds", action="store_true", help="the seeds of docs/worlds.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    host_samplers.load()
    try:
        chosen = cases(REPORT_SEED if options.report_seeds else DEVELOPMENT_SEED, tuple(options.cases))
        for name in options.samplers:
            if not host_samplers.known(name):
                forms = ", ".join(host_samplers.DETERMINISTIC)
                raise ValueError(f"samplers must be registered with ComfyUI or one of {forms}, got {name!r}.")
        for case in chosen:
            case.grids = tuple(options.grids or case.grids)
            case.calls = tuple(n for n in case.calls if n in (options.calls or CALLS))
        rows = judged(chosen, options.samplers)
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"error: {error}") from error
    for name, result in grouped(rows, lambda row: row.sampler).items():
        print(f"\n{name}\n\n{summary(result)}")
        if options.rows:
            print(f"\n{table(sorted(result, key=lambda row: -row.ratio))}")
    if len(options.samplers) > 1:
        print(f"\n{comparison(rows)}")


if __name__ == "__main__":
    main()
