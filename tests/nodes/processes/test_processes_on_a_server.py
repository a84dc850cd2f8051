"""Models of CLD and blurring diffusion through the real server: interrupts."""

import time

import pytest
from prompts import calls_made, check_good, custom_node, failure, graph_of, interrupt, report, select

MODELS = {
    "CLD": {"class_type": "RESDigitsProcessModel", "inputs": {"process": "CLD", "process.kind": "R", "width": 0.1}},
    "blurring": {"class_type": "RESDigitsProcessModel", "inputs": {"process": "blurring", "process.blur": 10.0, "width": 0.1}},
}


def process_graph(name, steps, **counter):
    """(run, prompt) of gDDIM on gDDIM Times, and the report. `counter`: inputs of TestCountCalls."""
    run, graph = graph_of(loader=MODELS[name], **counter)
    times = {"model": ["model", 0], "steps": steps, "denoise": 1.0, "power": 2.0, "t_min": 0.0}
    graph |= {"sampler": select("exp_gddim"), "sigmas": {"class_type": "RESGDDIMTimes", "inputs": times}}
    graph["sample"] = custom_node(2.0)
    graph["report"] = {"class_type": "TestReport", "inputs": {"latent": ["sample", 0], "run": run}}
    return run, graph


@pytest.mark.parametrize("name", MODELS)
def test_an_interrupt_ends_the_planning_of_many_steps(server, name):
    """Planning 2,000 steps of three stages takes seconds; the server answers meanwhile, and the model is not called."""
    run, graph = process_graph(name, 2000)
    graph["sampler"] = select("exp_res_3s")
    prompt, waits = server.queue(graph), []
    for _ in range(3):
        begun = time.monotonic()
        server.get("/queue")
        waits.append(time.monotonic() - begun)
        time.sleep(0.2)
    begun = time.monotonic()
    server.post("/interrupt", {})
    assert "execution_interrupted" in failure(lambda: server.wait(prompt))
    assert time.monotonic() - begun < 5.0 and max(waits) < 2.0 and calls_made(server, run) in (0, None)


@pytest.mark.parametrize("where", [1, 5])
def test_an_interrupt_stops_at_once(server, where):
    """The server's button interrupts a call, and the next prompt runs normally."""
    run, graph = process_graph("CLD", 10, wait_in=where)
    interrupt(server, run, graph)
    assert calls_made(server, run) == where
    run, graph = process_graph("CLD", 10)
    check_good(report(server, run, graph, ["sample", 0]), 10)
