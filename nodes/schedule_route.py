"""The routes behind the pictures in the schedule nodes: a grid for the values of a node's widgets.

    POST /comfyui_res/grid       {"node": "RESLogSNRSchedule", "inputs": {"steps": 20, ...}, "model": null, "sampler": "exp_res"}
    GET  /comfyui_res/samplers   the samplers whose model calls it can count

They use the functions of the nodes, read no files and store nothing. A bad request is answered with 400 and {"error": a
sentence}.
"""

import asyncio
import json
import math

import numpy as np
from aiohttp import web
from comfy_api.v0_0_2 import io

from ..samplers.curve import read_curve
from ..samplers.schedules import SigmaRange
from ..samplers.time_maps import FLOW, VE
from .calls import calls_on, samplers_with_known_calls
from .host import prompt_server
from .inputs import check_choice, check_number, read_inputs, shown
from .schedule_nodes import NONE, SD, RESLogSNRCurve, RESLogSNRSchedule, kind_and_range

PATH = "/comfyui_res/grid"
SAMPLERS_PATH = "/comfyui_res/samplers"
MAX_BODY = 32_768  # bytes
# Limit of the steps of the whole grid, before denoise cuts it; this takes a tenth of a second.
MAX_GRID = 100_000
_SECONDS_TO_READ = 5.0
_CURVE_SAMPLES = 101
_MOST_TIMESTEPS = 100

_NODES = {node.define_schema().node_id: node for node in (RESLogSNRSchedule, RESLogSNRCurve)}
_KINDS = {time.name: time for time in (VE, FLOW)}


def register_routes() -> None:
    """Add the routes to the host's server, if there is one and no other copy of the pack has added them."""
    server = prompt_server()
    if server is not None and all(getattr(route, "path", None) != PATH for route in server.routes):
        one_at_a_time = asyncio.Lock()
        server.routes.post(PATH)(lambda request: _answer(request, one_at_a_time))
        server.routes.get(SAMPLERS_PATH)(_samplers)


async def _samplers(request: web.Request) -> web.Response:
    return web.json_response(list(samplers_with_known_calls()))


async def _answer(request: web.Request, one_at_a_time: asyncio.Lock) -> web.Response:
    try:
        body = await asyncio.wait_for(_body(request), _SECONDS_TO_READ)
        async with one_at_a_time:
            if request.transport is None or request.transport.is_closing():
                return web.Response(status=499)  # the client has left, and nobody waits for the grid
            return web.json_response(await asyncio.to_thread(grid, body))
    except asyncio.TimeoutError:
        return web.json_response({"error": f"the body did not arrive within {_SECONDS_TO_READ:g} s."}, status=400)
    except web.RequestPayloadError:
        return web.json_response({"error": "the body is not in the encoding that its header names."}, status=400)
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)


async def _body(request: web.Request) -> bytes:
    body = b""
    async for chunk in request.content.iter_chunked(8192):
        body += chunk
        if len(body) > MAX_BODY:
            raise ValueError(f"the body must have at most {MAX_BODY} bytes.")
    return body


def grid(body: bytes) -> dict:
    """The response to a request.

    Args:
        body: JSON of an object with
            node: "RESLogSNRSchedule" or "RESLogSNRCurve".
            inputs: the node's widgets by name; defaults for those left out.
            model: {"kind": "ve" or "flow", "sigma_min": ..., "sigma_max": ..., "timesteps": [...], "shift": 1,
                "noise_scale": 1}, or None for the kind that the inputs choose in without_model, SD's where that is none.
            sampler: a name to count the model calls of; optional.

    Returns:
        sigmas; logsnr of each, None where infinite; h, the steps in lambda between them, None likewise; calls, None without a
        sampler; curve, for the curve node: its share at 101 places of u.

    Raises:
        ValueError: the request is wrong; the message says how.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body must be JSON; it is none: {error}.") from None
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), dict):
        raise ValueError("the body must be an object with the node's id in 'node' and its widgets' values in 'inputs'.")
    node = _NODES[check_choice("node", request.get("node"), _NODES)]
    declared = [i for i in node.define_schema().inputs if i.id != "model"]
    inputs = read_inputs(declared, _inputs(declared, dict(request["inputs"])))
    without_model = inputs.pop("without_model")
    time, model_range = _model(request.get("model"), without_model)
    if inputs["denoise"] > 0.0 and inputs["steps"] / inputs["denoise"] > MAX_GRID:
        raise ValueError(f"steps / denoise must be at most {MAX_GRID} for a picture; take fewer steps or a larger denoise.")
    sigmas = node.sigmas(time, model_range, **inputs).tolist()
    logsnr = [2.0 * time.lam(sigma) if sigma > 0.0 else math.inf for sigma in sigmas]
    answer = {
        "sigmas": sigmas,
        "logsnr": _finite_or_none(logsnr),
        "h": _finite_or_none([(after - before) / 2.0 for before, after in zip(logsnr, logsnr[1:])]),
        "calls": None,
    }
    if (sampler := request.get("sampler")) is not None:
        stages = samplers_with_known_calls()
        answer["calls"] = calls_on(sigmas, stages[check_choice("sampler", sampler, stages)])
    if node is RESLogSNRCurve:
        answer["curve"] = read_curve(inputs["curve"]).share(np.linspace(0.0, 1.0, _CURVE_SAMPLES)).tolist()
    return answer


def _finite_or_none(values: list[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _model(model, without_model: dict):
    if model is None:
        return kind_and_range(without_model if without_model["without_model"] != NONE else {"without_model": SD})
    if not isinstance(model, dict):
        raise ValueError(f"model must be an object with its kind and its sigmas, or null; got {shown(model)}.")
    time = _KINDS[check_choice("kind of model", model.get("kind"), _KINDS)]
    low, high = (check_number(f"{name} of model", model.get(name), 1e-12, 1e12) for name in ("sigma_min", "sigma_max"))
    shift, noise_scale = (check_number(f"{name} of model", model.get(name, 1.0), 1e-3, 1e3) for name in ("shift", "noise_scale"))
    if not (low < high and time.allows(high)):
        raise ValueError(f"the sigmas of model must satisfy sigma_min < sigma_max, 1 at most on flow; got {low:g} and {high:g}.")
    return time.scaled(noise_scale), SigmaRange(low, high, _timesteps(model.get("timesteps", [])), shift)


def _timesteps(levels) -> tuple[float, ...]:
    if not isinstance(levels, list) or len(levels) > _MOST_TIMESTEPS or len(levels) == 1:
        raise ValueError(f"timesteps of model must be a list of 2 to {_MOST_TIMESTEPS} numbers or empty, got {shown(levels)}.")
    levels = tuple(check_number("timesteps of model", level, 1e-12, 1.0) for level in levels)
    if any(after <= before for before, after in zip(levels, levels[1:])):
        raise ValueError("timesteps of model must rise.")
    return levels


def _inputs(declared: list, values: dict, prefix: str = "") -> dict:
    """Values in the form in which the host gives them to a node; they are removed from `values`."""
    result = {}
    for item in declared:
        name = prefix + item.id
        if isinstance(item, io.DynamicCombo.Input):
            options = {option.key: option.inputs for option in item.options}
            key = check_choice(name, values.pop(name, item.options[0].key), options)
            result[item.id] = {item.id: key, **_inputs(options[key], values, f"{name}.")}
        else:
            result[item.id] = values.pop(name, item.default)
    if not prefix and values:
        raise ValueError(f"there is no input {shown(next(iter(values)))} with these choices; remove it.")
    return result
