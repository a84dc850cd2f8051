"""The routes behind the pictures give what the node gives, or 400 and a sentence."""

import asyncio
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest
import torch
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from prompts import request

from samplers.spacings import SPACINGS

MODELS = {
    "eps": {"kind": "ve", "sigma_min": 0.0292, "sigma_max": 14.61},
    "flow": {"kind": "flow", "sigma_min": 0.003, "sigma_max": 1.0},
}
CURVE = "[[0, 0], [0.3, 0.5], [1, 1]]"


@pytest.fixture(scope="session")
def route(module):
    return module("nodes.schedule_route")


def body(node="RESLogSNRSchedule", model=None, sampler=None, **inputs):
    return json.dumps({"node": node, "model": model, "sampler": sampler, "inputs": inputs}).encode()


def widgets():
    """Values of the widgets of both nodes, with every choice."""
    common = {"steps": 7, "denoise": 0.7, "composition": 0.6}
    for spacing in SPACINGS:
        parameters = {f"spacing.{name}": parameter.default for name, parameter in SPACINGS[spacing].parameters.items()}
        yield "RESLogSNRSchedule", {"spacing": spacing, **parameters, **common}
    ends = {"range": "logSNR", "range.start_logsnr": -4.0, "range.end_logsnr": 6.0}
    yield "RESLogSNRSchedule", {"spacing": "uniform", **common, **ends}
    yield "RESLogSNRSchedule", {"spacing": "uniform", "steps": 7, "denoise": 1.0, "direction": "invert"}
    yield "RESLogSNRCurve", {"curve": CURVE, **common, **ends}
    yield "RESLogSNRCurve", {"curve": CURVE, **common, "follow_shift": False}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("node, inputs", widgets(), ids=str)
def test_it_is_what_the_node_gives(pack, module, toy, route, node, inputs, kind):
    """The request that follows a run gives the same grid."""
    model, shape = toy(kind), {"kind": MODELS[kind]["kind"], "noise_scale": 1.0}
    shape |= module("nodes.host").sigma_range(model.get_model_object("model_sampling"))._asdict()
    shape = json.loads(json.dumps(shape))
    drawn = route.grid(body(node, shape, **inputs))
    nested = {name: value for name, value in inputs.items() if "." not in name}
    for choice in {"spacing", "range"} & set(inputs):
        parameters = {name.removeprefix(f"{choice}."): value for name, value in inputs.items() if name.startswith(f"{choice}.")}
        nested[choice] = {choice: inputs[choice], **parameters}
    output = pack[node].execute(model=model, **nested)
    assert drawn["sigmas"] == output.result[0].tolist()
    [said] = output.ui["res_grid"]
    said = json.loads(said)
    assert said["model"] == shape and said["inputs"].items() >= inputs.items()
    assert route.grid(body(node, said["model"], **said["inputs"]))["sigmas"] == drawn["sigmas"]


@pytest.mark.parametrize("kind", MODELS)
def test_logsnr_steps_and_calls(route, kind):
    answer = route.grid(body(model=MODELS[kind], sampler="exp_res_3s", steps=9, spacing="uniform"))
    for sigma, logsnr in zip(answer["sigmas"], answer["logsnr"]):
        alpha = 1.0 if kind == "eps" else 1.0 - sigma
        assert logsnr == (pytest.approx(2.0 * math.log(alpha / sigma), abs=1e-9) if sigma * alpha > 0.0 else None)
    finite = [i for i, h in enumerate(answer["h"]) if h is not None]
    assert finite == list(range(kind == "flow", 8))
    for i in finite:
        assert answer["h"][i] == pytest.approx((answer["logsnr"][i + 1] - answer["logsnr"][i]) / 2.0)
    assert answer["calls"] == 3 * 8 + 1
    assert "curve" not in answer and json.loads(json.dumps(answer)) == answer


def test_without_a_model_it_is_the_kind_chosen(route):
    """Before a kind is chosen, the picture uses SD's; the node itself refuses to run."""
    chosen = {"without_model": "flow", "without_model.shift": 3.0}
    flow = route.grid(body(model=None, spacing="beta", **chosen))
    assert flow["sigmas"][0] == 1.0 and flow["logsnr"][0] is None and flow["calls"] is None
    assert route.grid(body(model=None))["sigmas"] == route.grid(body(model=None, without_model="SD, SDXL"))["sigmas"]


@pytest.mark.parametrize("node", ["RESLogSNRSchedule", "RESLogSNRCurve"])
@pytest.mark.parametrize(
    "kind, chosen", [("eps", {"without_model": "SD, SDXL"}), ("flow", {"without_model": "flow", "shift": 3.0})]
)
def test_sigmas_without_a_model_are_those_of_a_model_of_the_kind(pack, toy, node, kind, chosen):
    """The Toy Model has SD's sigmas, or those of flow at the requested shift."""
    model = toy(kind)
    shape = {"spacing": {"spacing": "beta"}} if node == "RESLogSNRSchedule" else {"curve": CURVE}
    [with_model] = pack[node].execute(model=model, steps=9, denoise=1.0, **shape).result
    output = pack[node].execute(steps=9, denoise=1.0, **shape, without_model=chosen)
    torch.testing.assert_close(output.result[0], with_model, rtol=1e-5, atol=0)
    [other] = pack[node].execute(model=model, steps=9, denoise=1.0, **shape, without_model={"without_model": "EDM"}).result
    assert torch.equal(other, with_model), "a model that is wired comes first"
    with pytest.raises(ValueError, match="model is not connected; connect the model .* or choose its kind in without_model"):
        pack[node].execute(steps=9, denoise=1.0, **shape)


def test_the_curve_between_its_points(route):
    curve = route.grid(body("RESLogSNRCurve", curve=CURVE))["curve"]
    assert len(curve) == 101 and curve[30] == pytest.approx(0.5) and curve[0] == 0.0 and curve[-1] == 1.0


WRONG = {
    "no JSON": (b"{", "the body must be JSON"),
    "a list": (b"[]", "must be an object"),
    "no inputs": (b'{"node": "RESLogSNRSchedule"}', "must be an object"),
    "nested": (b"[" * 30_000, "the body must be JSON"),
    "no text": (b"\xff\xfe\xfa", "the body must be JSON"),
    "node": (body("KSampler"), "node must be one of RESLogSNRSchedule, RESLogSNRCurve; got 'KSampler'"),
    "a list for a node": (body(["x"]), "node must be one of .* got a list"),
    "shape": (body(spacing="spiral"), "spacing must be one of .*arctan.* got 'spiral'"),
    "steps 0": (body(steps=0), "steps must be a whole number from 1 to 10000, got 0"),
    "steps 1e500": (body(steps=10**500), "steps must be a whole number from 1 to 10000, got an integer of 1661 bits"),
    "NaN": (body(denoise=math.nan), "denoise must be a number from 0 to 1, got nan"),
    "infinity": (body(composition=math.inf), "composition must be a number from 0.1 to 0.9, got inf"),
    "text": (body(denoise="1"), "denoise must be a number from 0 to 1, got '1'"),
    "parameter": (body(spacing="power", **{"spacing.power": 9.0}), "spacing.power must be a number from 0.25 to 4, got 9"),
    "of another": (body(spacing="power", **{"spacing.rho": 7.0}), "there is no input 'spacing.rho'"),
    "unknown": (body(colour="red"), "there is no input 'colour'"),
    "direction": (body(direction="up"), "direction must be one of denoise, invert"),
    "shift": (body(model={**MODELS["flow"], "shift": 0.0}), "shift of model must be a number"),
    "follow": (body(follow_shift=1), "follow_shift must be true or false, got 1"),
    "sampler": (body(sampler="dpm_adaptive"), "sampler must be one of exp_res"),
    "model": (body(model="vq"), "model must be an object .* got 'vq'"),
    "kind": (body(model={"kind": "vp"}), "kind of model must be one of ve, flow"),
    "range": (body(model={"kind": "ve", "sigma_min": 2, "sigma_max": 1}), "sigma_min < sigma_max"),
    "flow above 1": (body(model={"kind": "flow", "sigma_min": 0.1, "sigma_max": 2}), "1 at most on flow"),
    "sigma": (body(model={"kind": "ve", "sigma_min": None, "sigma_max": 2}), "sigma_min of model must be a number"),
    "timesteps": (body(model={**MODELS["eps"], "timesteps": [0.1, 0.1]}), "timesteps of model must rise"),
    "too many": (body(model={**MODELS["eps"], "timesteps": [0.1] * 101}), "must be a list of 2 to 100 numbers or empty"),
    "no timesteps": (body(model=MODELS["eps"], spacing="beta"), "needs the model's timesteps"),
    "work": (body(steps=10000, denoise=0.01), "steps / denoise must be at most 100000"),
    "point": (body("RESLogSNRCurve", curve="[[0, 0], [2, 1]]"), "curve: point 2"),
    "curve": (body("RESLogSNRCurve", curve=3), "curve must be text, got 3"),
    "order": (body(range="logSNR", **{"range.start_logsnr": 4.0, "range.end_logsnr": -4.0}), "below end_logsnr"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_errors_by_name(route, case):
    with pytest.raises(ValueError, match=WRONG[case][1]):
        route.grid(WRONG[case][0])


def post(server, data, status=200, **headers):
    """The answer to a POST."""
    headers = {"Content-Type": "application/json", **headers}
    got, answer = request(server, "POST", "/comfyui_res/grid", data, **headers)
    assert got == status
    return json.loads(answer)


def test_over_http(server):
    answer = post(server, body(steps=12, sampler="seeds_2"))
    assert len(answer["sigmas"]) == 13 and answer["calls"] == 23
    assert "exp_res" in server.get("/comfyui_res/samplers")
    for case, (data, _) in WRONG.items():
        assert list(post(server, data, 400)) == ["error"], case
    assert "at most 32768 bytes" in post(server, b" " * 40_000, 400)["error"]
    assert "not in the encoding" in post(server, body(), 400, **{"Content-Encoding": "gzip"})["error"]


def test_a_picture_after_a_drag_is_quick(server):
    """The editor asks at once, so the answer is all that takes time. Processor time does not depend on other tests."""
    import psutil

    process = psutil.Process(server.process.pid)

    def seconds(data):
        before = sum(process.cpu_times()[:2])
        post(server, data)
        return sum(process.cpu_times()[:2]) - before

    assert max(seconds(body(node, sampler="exp_res", **inputs)) for node, inputs in widgets()) < 0.15


def test_the_server_works_during_the_largest_requests(server):
    largest, waits = body(steps=10000, denoise=0.1, spacing="arctan"), []
    with ThreadPoolExecutor(64) as threads:
        answers = [threads.submit(post, server, largest) for _ in range(64)]
        while not all(answer.done() for answer in answers):
            started = time.monotonic()
            server.get("/prompt")
            waits.append(time.monotonic() - started)
    assert len(waits) > 5 and max(waits) < 2.0


def test_no_grid_is_computed_for_clients_that_have_left(route, monkeypatch):
    """Forty clients request and leave while the first grid is computed; the next client waits only for that grid."""
    made = []

    def slow(content):
        made.append(json.loads(content)["inputs"]["steps"])
        time.sleep(0.2)
        return {}

    async def run():
        app, lock = web.Application(), asyncio.Lock()
        app.router.add_post(route.PATH, lambda request: route._answer(request, lock))
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        for steps in range(1, 41):
            content = body(steps=steps)
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"POST {route.PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n"
            writer.write(head.encode() + content)
            await writer.drain()
            await asyncio.sleep(0.01)  # the request has arrived
            writer.close()
        async with aiohttp.request("POST", f"http://127.0.0.1:{port}{route.PATH}", data=body(steps=50)) as answer:
            await runner.cleanup()
            return answer.status

    monkeypatch.setattr(route, "grid", slow)
    with ThreadPoolExecutor(1) as thread:  # in the main one a browser's event loop may be running
        assert thread.submit(asyncio.run, run()).result() == 200
    assert made[-1] == 50 and len(made) < 10


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
numbers = st.floats() | st.integers() | st.sampled_from([1, 2, 20, 10000, 0.5, 1.0, -1, 1e300])
inputs = {
    "steps": st.integers(1, 300) | numbers | json_values,
    "denoise": st.floats(0, 1) | numbers,
    "composition": st.floats(0.1, 0.9) | numbers,
    "spacing": st.sampled_from([*SPACINGS]) | json_values,
    **{f"spacing.{key}": numbers for spacing in SPACINGS.values() for key in spacing.parameters},
    "direction": st.sampled_from(["denoise", "invert", "denoise inverted"]) | json_values,
    "range": st.sampled_from(["model", "logSNR"]) | json_values,
    "range.start_logsnr": st.floats(-40, 40) | numbers,
    "range.end_logsnr": st.floats(-40, 40) | numbers,
    "curve": st.just(CURVE) | st.text(max_size=20),
}
model = {"kind": st.sampled_from(["ve", "flow"]), "sigma_min": numbers, "sigma_max": numbers}
parts = {
    "node": st.sampled_from(["RESLogSNRSchedule", "RESLogSNRCurve"]) | json_values,
    "inputs": st.fixed_dictionaries({}, optional=inputs) | json_values,
    "model": st.none() | st.fixed_dictionaries(model) | json_values,
}
requests = st.fixed_dictionaries(parts, optional={"sampler": st.sampled_from(["exp_res", "seeds_3"]) | json_values})


@settings(max_examples=600, deadline=10_000)
@given(content=(requests | json_values).map(lambda value: json.dumps(value).encode()) | st.binary())
def test_whatever_is_asked_it_is_answered_or_refused(route, content):
    try:
        answer = route.grid(content)
    except ValueError as error:
        assert 10 < len(str(error)) < 1000
    else:
        sigmas = answer["sigmas"]
        assert all(math.isfinite(sigma) and sigma >= 0.0 for sigma in sigmas)
        json.dumps(answer, allow_nan=False)
