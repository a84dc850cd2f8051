"""RES Lab: Measure in the real host: names, counted calls, true errors, files, errors."""

import csv
import math
import sys
import types

import pytest
import torch
from pixelwise import schedule

_INPUTS = {"samplers": "exp_res, dpmpp_2m, heun", "schedulers": "karras", "budgets": "6, 10"}


@pytest.fixture
def parts(guided_digits, latent):
    """parts(kind, cfg, batch) -> GUIDER and LATENT of digits."""
    return lambda kind="eps", cfg=3.0, batch=6: (guided_digits(kind, cfg), latent(batch))


@pytest.fixture
def measure(pack, folders):
    """measure(model, latent, seed, **inputs) -> the node's outputs; files go to `folders`."""

    def run(model, latent, seed=1, **inputs):
        return pack["RESLabMeasure"].execute(model, latent, seed, **{**_INPUTS, **inputs}).result

    return run


def _rows(folders) -> list[dict]:
    [path] = (folders / "output" / "res_lab").glob("*.csv")
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def _kinds(folders):
    return {row["sampler"]: row["kind"].split()[0] for row in _rows(folders)}


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_errors_are_those_of_the_hosts_own_sampling(parts, measure, by_guider, folders, kind):
    from comfy_extras.nodes_custom_sampler import RandomNoise

    guider, latent = parts(kind)
    sampler, sigmas, picture, strip, table, verdict = measure(guider, latent, samplers="dpmpp_2m, exp_res, heun")
    rows = _rows(folders)
    calls = {(row["sampler"], row["budget"]): row["calls"] for row in rows}
    assert calls == {(n, c): c for n in ("dpmpp_2m", "exp_res") for c in ("6", "10")} | {("heun", "6"): "5", ("heun", "10"): "9"}

    def sample(name, steps, scheduler):
        grid = schedule(guider.model_patcher, steps, scheduler)
        grid = grid if scheduler == "karras" else torch.cat([grid[:-1], grid[-2:-1] * torch.tensor([0.6, 0.36, 0.2]), grid[-1:]])
        return by_guider(RandomNoise.execute(1).result[0], guider, name, grid, latent).flatten(1).double()

    truth = sample("exp_res_3s", 250, "logsnr_uniform")
    for name in ("dpmpp_2m", "exp_res"):
        error = (sample(name, 10, "karras") - truth).norm(dim=1) / truth.norm(dim=1)
        row = next(row for row in rows if row["sampler"] == name and row["budget"] == "10")
        assert float(row["median"]) == pytest.approx(float(error.quantile(0.5)), rel=0.03, abs=2e-4)
    best = rows[0]
    assert sampler.sampler_function.__name__ == f"sample_{best['sampler']}" and len(sigmas) == int(best["steps"]) + 1
    assert verdict.startswith((f"{best['sampler']} + karras is the best of 3 pairs at 10 calls", "No clear winner at 10 calls: "))
    assert table.startswith(f"**{verdict}**")
    assert picture.shape == (1, 1200, 1080, 3) and strip.shape[2:] == (1080, 3) and "| heun + karras |" in table


def test_a_second_run_calls_the_model_no_more(parts, measure, counted):
    guider, latent = parts()
    made = counted(guider.model_patcher)
    first = measure(guider, latent)
    assert len(made) == 48 + 96 + (6 + 5) + 6 + (10 + 9) + 10
    made.clear()
    second = measure(guider, latent)
    assert not made and second[4] == first[4] and torch.equal(second[2], first[2])
    measure(guider, latent, samplers="exp_res, dpmpp_2m, heun, euler")
    assert len(made) == 6 + 10
    made.clear()
    measure(guider, latent, seed=2, budgets="6")
    assert len(made) >= 48 + 96 + 6 + 5 + 6


def test_an_interrupt_keeps_finished_cells_and_their_table_and_the_next_run_continues(parts, measure, folders):
    """The interrupt comes in the fourth cell of six."""
    import comfy.model_management
    import comfy.patcher_extension

    guider, latent = parts()
    made = []

    def interrupt(executor, *args, **kwargs):
        made.append(1)
        comfy.model_management.interrupt_current_processing(len(made) == 48 + 96 + 6 + 6 + 5 + 3)
        return executor(*args, **kwargs)

    guider.model_patcher.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREDICT_NOISE, "interrupt", interrupt)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        measure(guider, latent)
    assert len(made) == 164 and len(_rows(folders)) == 3
    made.clear()
    measure(guider, latent, filename_prefix="again")
    assert len(made) == 10 + 10 + 9, "the other three cells"


def test_a_model_with_connected_samplers_and_sigmas(parts, measure, pack, folders):
    import comfy.samplers

    guider, latent = parts(cfg=1.0)
    model = guider.model_patcher
    sampler = comfy.samplers.ksampler("seeds_2", {"eta": 0.0, "s_noise": 0.0})
    measure(model, latent, sampler_2=sampler, sigmas_1=schedule(model, 10, "exponential"), samplers="", schedulers="")
    rows = {(row["sampler"], row["schedule"], row["calls"], row["kind"]) for row in _rows(folders)}
    assert rows == {("seeds_2 (sampler_2)", "sigmas_1", calls, "error") for calls in ("5", "9")}


def test_sde_and_adaptive_samplers(parts, measure, folders):
    table = measure(*parts(), samplers="exp_res_sde, euler_ancestral, exp_res_adaptive, euler, lcm")[4]
    kinds = dict.fromkeys(("exp_res_sde", "euler_ancestral", "lcm"), "distance")
    assert _kinds(folders) == {**kinds, "exp_res_adaptive": "error", "euler": "error"}
    assert sum(row["sampler"] == "exp_res_adaptive" for row in _rows(folders)) == 1 and "never ranked" in table


def test_every_sampler_of_the_host_can_be_measured_or_says_why_not(parts, measure, folders):
    import comfy.samplers

    table = measure(*parts(), samplers="*", budgets="8")[4]
    measured = {row["sampler"] for row in _rows(folders)}
    wanted = {name for name in comfy.samplers.SAMPLER_NAMES if "cfgpp" not in name.replace("_", "")}
    assert wanted - measured == set(), table
    assert all(math.isfinite(float(row["median"])) for row in _rows(folders))


def test_samplers_of_newer_hosts_with_cfg_pp_are_known_by_their_names(parts, measure):
    from comfy.samplers import KSAMPLER

    def sample_cfgpp_ud10_ab(model, x, sigmas, **kwargs):
        pytest.fail("it was sampled")

    with pytest.raises(ValueError, match="sampler_1 is cfgpp_ud10_ab: CFG"):
        measure(*parts(), sampler_1=KSAMPLER(sample_cfgpp_ud10_ab))


@pytest.mark.parametrize(
    "inputs, match",
    [
        ({"samplers": "exp_rse"}, "samplers has 'exp_rse'.*Did you mean exp_res"),
        ({"samplers": "nothing_*"}, "samplers has 'nothing_\\*'"),
        ({"samplers": "euler_cfg_pp"}, "samplers has euler_cfg_pp: CFG\\+\\+ follows another ODE"),
        ({"sampler_1": "euler_cfg_pp"}, "sampler_1 is euler_cfg_pp: CFG\\+\\+ follows another ODE"),
        ({"samplers": "euler_ancestral"}, "samplers has no ODE sampler"),
        ({"schedulers": "karas"}, "schedulers has 'karas'.*karras"),
        ({"samplers": ""}, "nothing can be measured"),
        ({"schedulers": ""}, "nothing can be measured"),
        ({"budgets": "0, 5"}, "budgets must be whole numbers from 1 to 10000 .* got '0'"),
        ({"budgets": "5.5"}, "got '5.5'"),
        ({"best_at": 3}, "best_at is 3, but the smallest of budgets is 6, .* set best_at to one of 6, 10, or to 0"),
        ({"baseline": "euler"}, "baseline is 'euler', which is not measured. Name one of the samplers, or .* exp_res \\+ karras"),
        ({"baseline": "heun + simple"}, "baseline is 'heun \\+ simple'"),
        ({"budgets": " , "}, "budgets is empty"),
        ({"tolerance": 0.0}, "tolerance must be"),
        ({"reference_calls": 10}, "reference_calls must be a whole number from 96"),
        ({"sigmas_1": torch.tensor([1.0])}, "sigmas_1 gives 1 sigmas"),
        ({"sigmas_1": torch.tensor([10.0, 1.0])}, "sigmas_1 ends at sigma 1"),
        ({"sigmas_1": torch.tensor([1.0, 10.0, 0.0])}, "sigmas_1: "),
        ({"sigmas_1": torch.tensor([math.nan, 0.0])}, "sigmas_1"),
    ],
)
def test_errors_before_anything_is_sampled(parts, measure, counted, inputs, match):
    import comfy.samplers

    guider, latent = parts()
    made = counted(guider.model_patcher)
    if "sampler_1" in inputs:
        inputs = {"sampler_1": comfy.samplers.sampler_object(inputs["sampler_1"])}
    with pytest.raises(ValueError, match=match):
        measure(guider, latent, **inputs)
    assert not made


def test_without_matplotlib_nothing_is_sampled(parts, measure, monkeypatch, folders):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RuntimeError, match="RES Lab: Measure needs matplotlib"):
        measure(*parts())
    assert not list(folders.rglob("*.safetensors"))


def test_noise_beside_a_mask_is_noise(parts, measure, folders):
    """ddim by name fills the part outside the mask with its own noise; a sampler that diverges draws none."""
    import comfy.samplers

    class Diverging(comfy.samplers.Sampler):
        def sample(self, model_wrap, sigmas, extra_args, callback, noise, *args, **kwargs):
            for sigma in sigmas[:-1]:
                model_wrap(noise, sigma.expand(len(noise)), **extra_args)
            return noise * math.nan

    guider, latent = parts()
    mask = torch.eye(8)[None]
    measure(guider, {**latent, "noise_mask": mask}, samplers="ddim, euler", budgets="6", sampler_1=Diverging())
    assert _kinds(folders) == {"ddim": "distance", "euler": "error", "Diverging": "error"}


def _in_prompt(node, monkeypatch, sources, workflow=None):
    """Connect sources, (class, title, inputs) by input, to a node as in a prompt."""
    prompt = {
        name: {"class_type": kind, "inputs": inputs, **({"_meta": {"title": title}} if title else {})}
        for name, (kind, title, inputs) in sources.items()
    }
    prompt["0"] = {"inputs": {name: [name, 0] for name in sources}}
    info = {"workflow": workflow} if workflow else None
    monkeypatch.setattr(node, "hidden", types.SimpleNamespace(unique_id="0", prompt=prompt, extra_pnginfo=info))


def test_wired_inputs_have_the_titles_of_their_nodes(parts, measure, pack, folders, monkeypatch):
    """Two equal titles, and a title that is another sampler's name, are distinguished by their inputs."""
    import comfy.samplers

    titles = {"sampler_1": "My RES | 2", "sampler_2": "heun", "sampler_3": "My RES | 2"}
    sources = {name: ("RESMultistep", title, {}) for name, title in titles.items()}
    _in_prompt(pack["RESLabMeasure"], monkeypatch, sources | {"sigmas_1": ("RESLogSNRSchedule", None, {})})
    guider, latent = parts()
    wired = {name: comfy.samplers.sampler_object("euler") for name in titles}
    wired["sigmas_1"] = schedule(guider.model_patcher, 10, "karras")
    *_, verdict = measure(guider, latent, samplers="", schedulers="", **wired, baseline="My RES 2 (sampler_3)")
    assert {row["sampler"] for row in _rows(folders)} == {"My RES 2 (sampler_1)", "heun (sampler_2)", "My RES 2 (sampler_3)"}
    assert {row["schedule"] for row in _rows(folders)} == {pack["RESLogSNRSchedule"].define_schema().display_name}
    assert verdict.startswith("No clear winner at 10 calls: "), "all are equal"


def test_without_a_title_of_their_own_wired_inputs_have_the_names_of_what_they_give(parts, measure, pack, folders, monkeypatch):
    """A sampler with options of its own keeps its input's name. A workflow does not save the editor's usual titles."""
    import comfy.samplers

    sources = {
        "sampler_1": ("KSamplerSelect", "K采样器选择", {"sampler_name": "ddim"}),
        "sampler_2": ("RESSingleStep", None, {}),
        "sampler_3": ("KSamplerSelect", "KSamplerSelect", {"sampler_name": "euler"}),
        "sigmas_1": ("BasicScheduler", "BasicScheduler", {"scheduler": "karras"}),
        "sigmas_2": ("BasicScheduler", "By hand", {"scheduler": "simple"}),
    }
    workflow = {"nodes": [{"id": "sampler_1"}, {"id": "sigmas_2", "title": "By hand"}]}
    _in_prompt(pack["RESLabMeasure"], monkeypatch, sources, workflow)
    guider, latent = parts()
    wired = {"sampler_1": comfy.samplers.sampler_object("ddim"), "sampler_3": comfy.samplers.sampler_object("euler")}
    wired["sampler_2"] = pack["RESSingleStep"].execute({"stages": "2", "c2": 0.4}).result[0]
    wired |= {f"sigmas_{n}": schedule(guider.model_patcher, 6, name) for n, name in enumerate(("karras", "simple"), 1)}
    measure(guider, latent, samplers="euler", schedulers="", budgets="6", **wired)
    assert {row["sampler"] for row in _rows(folders)} == {"euler", "ddim", "exp_res_2s (sampler_2)", "euler (sampler_3)"}
    assert {row["schedule"] for row in _rows(folders)} == {"karras", "By hand"}


def test_nothing_is_left_when_it_is_finished(parts, measure, module, monkeypatch):
    from comfy.utils import ProgressBar

    texts, bars = [], []
    monkeypatch.setattr(module("nodes.lab_progress"), "send_text", lambda text, node: texts.append(text))
    monkeypatch.setattr(ProgressBar, "update_absolute", lambda bar, done, total=None, image=None: bars.append(done == total))
    measure(*parts())
    assert texts[-1] == "6 of 6 cells; 190 model calls" and bars[-1]


def test_models_that_cannot_be_measured_are_refused(measure, cld, latent):
    from training import networks

    with pytest.raises(ValueError, match="model is a MODEL without a prompt.*Connect a GUIDER"):
        measure(networks.load("sd3"), {"samples": torch.zeros(2, *networks.NETWORKS["sd3"].shape)}, schedulers="simple")
    with pytest.raises(ValueError, match="CLD"):
        measure(cld, latent())


def test_nested_latents_are_refused(parts, measure):
    """Since 0.32 ComfyUI also makes the empty latent of a model for video with sound nested."""
    from comfy.nested_tensor import NestedTensor

    guider, latent = parts(batch=2)
    with pytest.raises(ValueError, match="latent_image is nested"):
        measure(guider, {"samples": NestedTensor([latent["samples"]] * 2)}, samplers="euler")
    form = guider.model_patcher.get_model_object("latent_format")
    if hasattr(form, "fix_empty_latent"):
        form.fix_empty_latent = lambda samples: NestedTensor([samples] * 2)
        with pytest.raises(ValueError, match="latent_image is nested"):
            measure(guider, latent, samplers="euler")


@pytest.mark.parametrize("preset, budgets, items, tolerance", [("quick look", [6, 10, 20], 4, 5e-3), ("by hand", [7], 1, 0.05)])
def test_a_preset_sets_budgets_batch_and_tolerance(parts, measure, folders, preset, budgets, items, tolerance):
    guider, latent = parts(batch=1)
    table = measure(guider, {**latent, "batch_index": [5]}, samplers="euler", budgets="7", tolerance=0.05, preset=preset)[4]
    assert sorted(int(row["budget"]) for row in _rows(folders)) == budgets
    assert f"{items} of {items} item" in table and f"rests on {items} item" in table
    assert float(_rows(folders)[0]["agreement"]) < tolerance
