"""RES Lab: Trace through the real server gives the result of SamplerCustomAdvanced, and a row for every step."""

import csv
import json

import pytest
from prompts import by_guider, calls_made, cfg_guider, execution_error, failure, graph_of, interrupt, report, schedule, select

pytest.importorskip("matplotlib", reason="matplotlib of requirements.txt is not in this ComfyUI's environment")

STEPS = 5
# sampler -> calls of each row; None where the sampler chooses its own grid
CALLS = {
    **dict.fromkeys(("euler", "euler_ancestral", "lcm", "uni_pc", "exp_res", "exp_res_sde"), [1] * STEPS),
    **dict.fromkeys(("heun", "dpm_2", "dpmpp_sde", "seeds_2", "exp_res_2s"), [2] * (STEPS - 1) + [1]),
    **dict.fromkeys(("seeds_3", "exp_res_3s", "exp_res_3s_sde"), [3] * (STEPS - 1) + [1]),
    **dict.fromkeys(("dpm_fast", "dpm_adaptive", "exp_res_adaptive")),
}


def _trace(sampler, model=("guider", 0), **inputs):
    """(run, graph) of a trace and the report on its latent."""
    kind, counter = inputs.pop("kind", "eps"), inputs.pop("counter", {})
    run, graph = graph_of(kind, inputs.pop("latent", None), **counter)
    graph["guider"] = cfg_guider(3.0)
    graph["sampler"] = sampler if isinstance(sampler, dict) else select(sampler)
    graph["sigmas"] = inputs.pop("sigmas", None) or schedule(STEPS)
    wires = {"model": list(model), "sampler": ["sampler", 0], "sigmas": ["sigmas", 0], "latent_image": ["latent", 0]}
    prefix = f"res_lab/{run.replace(' ', '-')}"
    graph["trace"] = {"class_type": "RESLabTrace", "inputs": {**wires, "seed": 3, "filename_prefix": prefix, **inputs}}
    return run, graph


def _rows(server, file):
    with open(server.base / "output" / file, newline="") as opened:
        return list(csv.DictReader(opened))


def _run(server, sampler, **inputs):
    """The report on the latent, the rows shown and the file they are in."""
    run, graph = _trace(sampler, **inputs)
    graph["report"] = {"class_type": "TestReport", "inputs": {"latent": ["trace", 0], "run": run}}
    outputs = server.run(graph)
    shown = json.loads(outputs["trace"]["res_trace"][0])
    assert outputs["trace"]["text"] == [shown["file"]]
    return outputs["report"]["facts"][0], shown["rows"], shown["file"]


def _by_the_host(server, sampler, kind="eps", latent=None):
    """The report on SamplerCustomAdvanced."""
    run, graph = _trace(sampler, kind=kind, latent=latent)
    del graph["trace"]
    by_guider(graph, ["sampler", 0], ["sigmas", 0])
    return report(server, run, graph, ["sample", 0])


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("name", CALLS)
def test_it_samples_as_the_host_does_and_counts_every_call(server, name, kind):
    facts, rows, file = _run(server, name, kind=kind)
    expected = _by_the_host(server, name, kind)
    assert facts["sha256"] == expected["sha256"] and facts["calls"] == expected["calls"]
    assert sum(row["calls"] for row in rows) == facts["calls"]
    if CALLS[name]:
        assert [row["calls"] for row in rows] == CALLS[name]
        assert [row["step"] for row in rows] == list(range(STEPS))
    assert all(before["sigma"] > row["sigma"] for before, row in zip(rows, rows[1:]))
    for shown, saved in zip(rows, _rows(server, file), strict=True):
        for column, value in shown.items():
            assert saved[column] in ("", "-inf") if value is None else float(saved[column]) == value
    assert all(row["d_change"] > 0.0 and row["acceleration_sigma"] > 0.0 and row["ms_per_call"] > 0.0 for row in rows[1:])
    assert rows[0]["local_error"] > 0.0 and rows[1]["first_order_error"] > 0.0


def test_noise_mask_and_own_latent(server):
    latent = {"class_type": "TestRealDigits", "inputs": {"count": 4, "mask": True}}
    facts, rows, _ = _run(server, "heun", latent=latent)
    assert facts["sha256"] == _by_the_host(server, "heun", latent=latent)["sha256"] and len(rows) == STEPS


def test_a_model_without_a_prompt(server):
    facts, rows, _ = _run(server, "exp_res", model=("model", 0))
    assert facts["finite"] and len(rows) == STEPS


def test_files_are_numbered(server):
    files = [_run(server, "euler", filename_prefix="res_lab/numbered")[2] for _ in range(2)]
    assert files == ["res_lab/numbered_00001_.csv", "res_lab/numbered_00002_.csv"]


@pytest.mark.parametrize("name", ["euler", "heun", "exp_res_3s"])
def test_an_interrupt_keeps_the_rows_so_far(server, name):
    run, graph = _trace(name, counter={"wait_in": 4})
    interrupt(server, run, graph)
    assert calls_made(server, run) == 4
    rows = _rows(server, f"{graph['trace']['inputs']['filename_prefix']}_00001_.csv")
    assert sum(int(row["calls"]) for row in rows) == 4
    assert rows[-1]["local_error"] == "" and len(rows) < STEPS


def test_a_failing_sampler_keeps_them_too(server):
    run, graph = _trace("exp_res", counter={"nan_from": 3})
    assert failure(lambda: server.run(graph))["execution_error"]["exception_type"] == "FloatingPointError"
    rows = _rows(server, f"{graph['trace']['inputs']['filename_prefix']}_00001_.csv")
    assert len(rows) == 3 and rows[1]["d_change"] and not rows[2]["d_change"]


@pytest.mark.parametrize("values, message", [("5 5", "sigmas must hold two different sigmas or more"), ("5 nan 0", "is nan")])
def test_bad_sigmas_are_refused_before_the_first_call(server, values, message):
    graph = _trace("euler", sigmas={"class_type": "TestSigmas", "inputs": {"values": values}})[1]
    assert message in execution_error(server, lambda: server.run(graph))
