"""CFG++ in the host: identities with its samplers, the meaning of CFG, masks, and guiders without a negative conditioning."""

from dataclasses import replace
from types import SimpleNamespace

import pixelwise
import pytest
import torch
from exact import CFG_PP
from pixelwise import noise_like

from samplers.catalogue import SAMPLERS

KINDS = ["eps", "v", "edm", "flow"]
_PAPER = (False, {"interpolation": "lambda"})


@pytest.fixture
def registry(module):
    return module("nodes.registry")


@pytest.fixture
def sample(toy, digit):
    """sample(kind, sampler, cfg, ...) -> latents of 8 digits; `options` are those of a sampler by name."""
    import comfy.samplers

    def run(kind, sampler, cfg, positive="4", negative="any", sigmas=None, model=None, mask=None, **options):
        noise, latent = noise_like((8, 1, 8, 8), 11), None if mask is None else torch.full((8, 1, 8, 8), 0.7)
        sampler = comfy.samplers.ksampler(sampler, options) if isinstance(sampler, str) else sampler
        inputs = sampler, _sigmas(kind) if sigmas is None else sigmas, noise
        conditions = digit(positive), digit(negative)
        return pixelwise.sample(model or toy(kind, 0.15), *inputs, *conditions, cfg, latent, 11, noise_mask=mask)

    return run


@pytest.fixture
def by_node(pack):
    """by_node(node, inputs) -> its SAMPLER."""
    return lambda node, *inputs, **more: pack[node].execute(*inputs, **more).result[0]


@pytest.fixture
def plain(registry):
    """plain(name) -> the same method without CFG++, for `sample`."""
    from comfy.samplers import KSAMPLER

    smooth = KSAMPLER(registry.for_host(replace(registry.SAMPLERS["exp_res_cfg_pp"], cfg_pp=False)))
    return lambda name: smooth if name == "exp_res_cfg_pp" else name.removesuffix("_cfg_pp")


def _sigmas(kind, n=10):
    if kind == "flow":
        return torch.cat([torch.linspace(0.98, 0.02, n), torch.zeros(1)])
    return torch.cat([torch.linspace(14.6 ** (1 / 7), 0.03 ** (1 / 7), n) ** 7, torch.zeros(1)])


# --- identities with the host's samplers ---


@pytest.mark.parametrize("cfg", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_first_order_is_the_hosts_euler_cfg_pp(sample, by_node, kind, cfg):
    ours = by_node("RESMultistep", 1, *_PAPER, cfg_pp=True)
    assert (sample(kind, ours, cfg) - sample(kind, "euler_cfg_pp", cfg)).abs().max() < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_first_order_with_noise_is_the_hosts_euler_ancestral_cfg_pp(sample, registry, kind):
    """At eta 1 both exchange the noise of DDPM."""
    from comfy.samplers import KSAMPLER

    def noises():
        generator = torch.Generator().manual_seed(5)
        return {"noise_sampler": lambda sigma, sigma_next: torch.randn(8, 1, 8, 8, generator=generator)}

    ddpm = registry.for_host(replace(registry.SAMPLERS["exp_gddim_sde"], cfg_pp=True))
    theirs = sample(kind, "euler_ancestral_cfg_pp", 0.8, **noises())
    assert (sample(kind, KSAMPLER(ddpm, {"cfg_pp": True, **noises()}), 0.8) - theirs).abs().max() < 1e-4


@pytest.mark.parametrize("cfg", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("kind", ["eps", "edm"])
def test_second_order_is_the_hosts_res_multistep_cfg_pp_but_for_the_strength_of_guidance(
    sample, by_node, module, monkeypatch, kind, cfg
):
    """On second-order steps the host weakens guidance by e^-h, which leaves little at few steps; here it is the paper's."""

    def weaken(stage, following):
        if stage.step == 0 or following == 0.0:
            return stage
        weaker = stage.guided * following / stage.sigma
        weights = [(call, w + (stage.guided - weaker) * (call == stage.step)) for call, w in stage.weights]
        return replace(stage, guided=weaker, weights=tuple(weights))

    def weakened(plan, sigmas):
        plan = cfg_pp(plan, sigmas)
        return replace(plan, stages=tuple(map(weaken, plan.stages, [*(stage.sigma for stage in plan.stages[1:]), 0.0])))

    theirs, ours = sample(kind, "res_multistep_cfg_pp", cfg), by_node("RESMultistep", 2, *_PAPER, cfg_pp=True)
    if cfg:
        assert (sample(kind, ours, cfg) - theirs).abs().max() > 0.01
    cfg_pp = module("samplers.method").with_cfg_pp
    monkeypatch.setattr(module("samplers.method"), "with_cfg_pp", weakened)
    assert (sample(kind, ours, cfg) - theirs).abs().max() < 5e-4


# --- what CFG means ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CFG_PP)
def test_cfg_0_is_the_plain_unconditional_sampler(sample, plain, name, kind):
    unguided = sample(kind, plain(name), 1.0, positive="any")
    assert (sample(kind, name, 0.0) - unguided).abs().max() < 1e-3


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("name", CFG_PP)
def test_cfg_1_is_no_special_case(sample, name, kind):
    """The host leaves out the negative conditioning at CFG 1, unless a function requests it."""
    at_one = sample(kind, name, 1.0)
    assert (at_one - sample(kind, name, 1.0 + 1e-5)).abs().max() < 1e-2
    assert (at_one - sample(kind, name.removesuffix("_cfg_pp"), 1.0)).abs().max() > 0.05


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("steps", [5, 10, 20])
def test_at_cfg_1_few_steps_give_the_digit_asked_for(sample, kind, steps):
    from embedded.digits import digits

    data = digits()
    latents = sample(kind, "exp_res_cfg_pp", 1.0, sigmas=_sigmas(kind, steps))
    nearest = torch.cdist(latents.flatten(1), data.means).argmin(dim=1)
    assert (data.labels[nearest] == 4).all()


# --- the option of nodes ---

_ALPHA = {"interpolation": "alpha", "data_scale": 6.0, "power": 1.5, "eps_share": 0.33}
NODES = {
    "order 4 in alpha": ("RESMultistep", (4, True, _ALPHA)),
    "exp_res_sde_cfg_pp": ("RESSDE", ("exp_res", 1.0, 1.0)),
    "RES-3M": ("RESMultistep", (3, *_PAPER)),
    "RES-2S": ("RESSingleStep", ({"stages": "2", "c2": 0.5},)),
    "RES-3S": ("RESSingleStep", ({"stages": "3", "c2": 1 / 3, "c3": 2 / 3},)),
    "RES-2S for the SDE": ("RESSDE", ("2s", 0.5, 1.0)),
}


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("method", NODES)
def test_nodes_have_cfg_pp_as_an_option(sample, by_node, in_flow_time, method, kind):
    """RES SDE's default is the registered sampler; without guidance it is the method itself in logSNR."""
    node, inputs = NODES[method]
    guided = by_node(node, *inputs, cfg_pp=True)
    at_one = sample(kind, guided, 1.0)
    if method in SAMPLERS:
        assert torch.equal(at_one, sample(kind, method, 1.0))
    if node == "RESSingleStep":  # without CFG++ it integrates flow models in log sigma
        unguided = in_flow_time(f"exp_res_{inputs[0]['stages']}s", "FLOW")
    else:
        unguided = by_node(node, *({**_ALPHA, "eps_share": 0.0} if i is _ALPHA else i for i in inputs))
    plain = sample(kind, unguided, 1.0, positive="any")
    assert (sample(kind, guided, 0.0) - plain).abs().max() < 1e-3 < (at_one - plain).abs().max()


# --- masks, and what else hangs on the model ---


@pytest.mark.parametrize("differential", [False, True])
@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("name", CFG_PP)
def test_soft_masks(sample, plain, toy, name, kind, differential):
    """A mask between 0 and 1 mixes the kept latent into both outputs, so with equal conditionings guidance has no effect."""
    from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion

    model = toy(kind, 0.15)
    if differential:
        model = DifferentialDiffusion.execute(model).result[0]
    mask = torch.linspace(0.0, 1.0, 8).expand(8, 8)[None]
    both = (sample(kind, n, 2.0, "7", "7", model=model, mask=mask) for n in (name, plain(name)))
    torch.testing.assert_close(*both, rtol=0, atol=1e-3)
    if not differential:
        hard = sample(kind, name, 1.0, model=model, mask=(mask > 0.5).float())
        assert (hard[..., :4] - 0.7).abs().max() < 1e-5


def test_post_cfg_functions_of_others_stay_and_ours_goes(sample, toy):
    """Our function is set on a copy of the options of one run."""
    model = toy("eps", 0.15)
    seen = []
    model.set_model_sampler_post_cfg_function(lambda args: seen.append(1) or args["denoised"])
    guided = sample("eps", "exp_res_cfg_pp", 1.0, model=model)
    assert len(seen) == 10 and len(model.model_options["sampler_post_cfg_function"]) == 1
    assert "disable_cfg1_optimization" not in model.model_options
    assert torch.equal(guided, sample("eps", "exp_res_cfg_pp", 1.0))


@pytest.mark.parametrize("name", CFG_PP)
def test_a_cache_that_skips_the_guider_is_refused(sample, toy, name):
    """LazyCache answers instead of the guider, with only the guided output."""
    from comfy_extras.nodes_easycache import LazyCacheNode

    model = toy("eps", 0.15)
    never = LazyCacheNode.execute(model, 0.0, 0.0, 1.0, False).result[0]
    assert torch.equal(sample("eps", name, 1.0, model=never), sample("eps", name, 1.0))
    often = LazyCacheNode.execute(model, 10.0, 0.1, 0.95, False).result[0]
    with pytest.raises(ValueError, match="no unconditional output.*LazyCache"):
        sample("eps", name, 1.0, model=often)


# --- guiders ---


def _guide(guider, name, **options):
    import comfy.samplers

    sampler, noise = comfy.samplers.sampler_object(name), noise_like((2, 1, 8, 8), 5)
    return guider.sample(noise, torch.zeros_like(noise), sampler, _sigmas("eps", 5), disable_pbar=True, seed=1, **options)


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("name", CFG_PP)
def test_guiders_without_a_negative_are_refused(toy, digit, counted, name, foreign):
    """BasicGuider is refused before the model is called, and a guider of another pack at the first call."""
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import BasicGuider

    class OnlyPositive(comfy.samplers.CFGGuider):
        def predict_noise(self, x, timestep, model_options={}, seed=None):  # noqa: B006
            return comfy.samplers.sampling_function(
                self.inner_model, x, timestep, None, self.conds["positive"], 1.0, model_options=model_options, seed=seed
            )

    model = toy("eps", 0.15)
    calls, guider = counted(model), OnlyPositive(model) if foreign else BasicGuider.execute(model, digit("4")).result[0]
    guider.inner_set_conds({"positive": digit("4")})
    early = "no negative conditioning.*CFGGuider.*or take a sampler without cfg_pp"
    with pytest.raises(ValueError, match="gave no unconditional output" if foreign else early):
        _guide(guider, name)
    assert len(calls) == foreign


@pytest.mark.parametrize("cfg, warned", [(1.5, False), (7.0, True)])
def test_a_cfg_made_for_other_samplers_is_warned_of(sample, module, monkeypatch, caplog, cfg, warned):
    """The warning is in the console, and in the running node for the client that queued the prompt."""
    from comfy_execution.utils import CurrentNodeContext

    texts = []
    server = SimpleNamespace(client_id="me", send_progress_text=lambda *text: texts.append(text))
    monkeypatch.setattr(module("nodes.host"), "prompt_server", lambda: server)
    with CurrentNodeContext("a prompt", "4:7"):
        sample("eps", "exp_res_cfg_pp", cfg)
    warning = "cfg is 7, which is very strong for a sampler with CFG++; take 0.5 to 1.5."
    assert (warning in caplog.text) is warned
    assert texts == ([(f"Warning: {warning}", "4:7", "me")] if warned else [])
    sample("eps", "exp_res_cfg_pp", cfg)
    assert len(texts) == warned, "outside of a prompt there is no node"


def _guider(digit, model, kind):
    """One of ComfyUI's guiders of several conditionings."""
    from comfy_extras import nodes_custom_sampler as nodes
    from comfy_extras.nodes_perpneg import PerpNegGuider

    four, seven, any_digit = map(digit, ("4", "7", "any"))
    if kind == "PerpNegGuider":
        return PerpNegGuider.execute(model, four, seven, any_digit, 1.0, 1.0).result[0]
    if kind.startswith("DualCFGGuider"):
        return nodes.DualCFGGuider.execute(model, four, seven, any_digit, 1.0, 1.0, kind.partition(" ")[2]).result[0]
    if not hasattr(nodes, "Guider_DualModel"):
        pytest.skip("this ComfyUI has no such guider")
    guider = nodes.Guider_DualModel(model, model.clone())
    guider.set_conds(four, any_digit)
    guider.set_cfg(1.5)
    return guider


@pytest.mark.parametrize("derived", [False, True])
@pytest.mark.parametrize("kind", ["DualCFGGuider nested", "DualModelGuider"])
def test_guiders_of_two_kinds_of_guidance_are_refused_by_name(toy, digit, counted, kind, derived):
    """They are refused before the first call, also if they are subclasses in another pack."""
    model = toy("eps", 0.15)
    calls, guider = counted(model), _guider(digit, model, kind)
    if derived:
        guider.__class__ = type("Theirs", (type(guider),), {})
    with pytest.raises(ValueError, match=f"the guider is {kind.partition(' ')[0]}.*CFGGuider"):
        _guide(guider, "exp_res_cfg_pp")
    assert not calls


@pytest.mark.parametrize("kind", ["DualCFGGuider regular", "PerpNegGuider"])
def test_a_mask_of_ones_changes_nothing_under_other_guiders(toy, digit, kind):
    """DualCFGGuider adds guidance after the function that gives the unconditional output."""
    guider = _guider(digit, toy("eps", 1.0), kind)
    unmasked = _guide(guider, "exp_res_cfg_pp")
    masked = _guide(guider, "exp_res_cfg_pp", denoise_mask=torch.ones(2, 1, 8, 8))
    assert unmasked.isfinite().all()
    torch.testing.assert_close(masked, unmasked, rtol=0, atol=1e-5)
