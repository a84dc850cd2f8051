"""With a second pack that rebinds the host's lists, reloads its modules or takes our names, both packs' names stay."""

import json
from itertools import product

import pytest
from prompts import PLAIN, calls_of, check_good, custom, ksampler, schedule

from samplers.catalogue import ADAPTIVE_SAMPLERS, SAMPLERS

OURS = {"sampler_name": [*SAMPLERS, *ADAPTIVE_SAMPLERS], "scheduler": ["logsnr_uniform", "logsnr_arctan"]}
LISTS = [(node, name) for node in ("KSampler", "KSamplerAdvanced") for name in OURS]
LISTS += [("KSamplerSelect", "sampler_name"), ("BasicScheduler", "scheduler")]

# What packs do when they load, in the order of a pack that does everything.
CHANGES = {
    "reloads": """
importlib.reload(K)
importlib.reload(S)
""",
    "rebinds": """
S.KSampler.SAMPLERS = [name for name in S.KSampler.SAMPLERS if not name.startswith("exp_res")]
S.SCHEDULER_NAMES = list(S.SCHEDULER_HANDLERS)
""",
    "takes names": """
register("exp_res", "logsnr_uniform", 5.0)
""",
}
PACK = """
import importlib
import comfy.k_diffusion.sampling as K
import comfy.samplers as S
import torch

NODE_CLASS_MAPPINGS = {{}}


def register(sampler, scheduler, value):
    sample = lambda model, x, sigmas, extra_args=None, callback=None, disable=None: torch.full_like(x, value)
    setattr(K, "sample_" + sampler, sample)
    grid = lambda sampling, steps: torch.tensor([float(sampling.sigma_max), 1.0, 0.0])
    S.SCHEDULER_HANDLERS[scheduler] = S.SchedulerHandler(grid)
    append(sampler, S.KSampler.SAMPLERS, S.SAMPLER_NAMES)
    append(scheduler, S.KSampler.SCHEDULERS, S.SCHEDULER_NAMES)


def append(name, *lists):
    for names in lists:
        if name not in names:
            names.append(name)


{changes}
register("theirs", "of_theirs", 7.0)
"""
ALONE = [pytest.param(([change], order), marks=pytest.mark.long) for change, order in product(CHANGES, ["before", "after"])]


@pytest.fixture(scope="module", params=[([*CHANGES], "before"), ([*CHANGES], "after"), *ALONE], ids=lambda param: f"{param}")
def beside(servers, tmp_path_factory, request):
    """A server with a second pack that loads before or after ours, and what that pack does when it loads.

    The host loads a folder in the order in which the system lists it, but the folders one after the other.
    """
    changes, order = request.param
    folder = tmp_path_factory.mktemp("packs")
    (folder / "theirs").mkdir()
    (folder / "theirs" / "__init__.py").write_text(PACK.format(changes="".join(CHANGES[change] for change in changes)))
    paths = folder / "paths.yaml"  # JSON is YAML
    paths.write_text(json.dumps({"packs": {"is_default": order == "before", "custom_nodes": str(folder)}}))
    return servers("--extra-model-paths-config", str(paths)), changes


def _of_theirs(facts, value):
    return facts["calls"] == 0 and set(facts["top"]) == {value}


@pytest.mark.parametrize("node, name", LISTS)
def test_ours_and_theirs_are_listed_once(beside, node, name):
    (options, *extra) = beside[0].get(f"/object_info/{node}")[node]["input"]["required"][name]
    offered = options if isinstance(options, list) else extra[0]["options"]
    wanted = [*OURS[name], {"sampler_name": "theirs", "scheduler": "of_theirs"}[name]]
    assert [offered.count(n) for n in wanted] == [1] * len(wanted)
    assert offered[0] in ("euler", "simple"), "the host falls back to it"


def test_each_name_runs_the_code_of_its_pack(beside):
    """RES Multistep as exp_res and the schedule of logsnr_uniform run our code under taken names too."""
    server, changes = beside
    taken = "takes names" in changes
    check_good(custom(server, {"class_type": "RESMultistep", "inputs": PLAIN}, schedule(5)), 5)
    check_good(ksampler(server, "exp_res_2m", "eps", scheduler="logsnr_arctan"), calls_of("exp_res_2m", 5))
    assert _of_theirs(ksampler(server, "theirs", "eps"), 7.0)
    assert ksampler(server, "exp_res_2m", "eps", scheduler="of_theirs")["calls"] == 2
    facts = ksampler(server, "exp_res", "eps", scheduler="logsnr_arctan")
    assert _of_theirs(facts, 5.0) if taken else facts["calls"] == calls_of("exp_res", 5)
    assert ksampler(server, "exp_res_2m", "eps", scheduler="logsnr_uniform")["calls"] == (2 if taken else 5)


def test_the_log_names_once_what_was_not_changed(beside):
    server, changes = beside
    lines = [line for line in server.log.read_text().splitlines() if "ComfyUI-RES: " in line]
    assert len(lines) == (2 if "takes names" in changes else 0), lines
    assert all(any(f" {name} " in line for line in lines) for name in ("exp_res", "logsnr_uniform")) or not lines
