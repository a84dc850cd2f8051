"""Strangers at the real server: hostile prompts, requests and pages, and the receivers of messages."""

import asyncio
import contextlib
import gzip
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import psutil
import pytest
from conftest import ROOT
from prompts import failure, graph_of, request, schedule, select

GRID = "/comfyui_res/grid"
_GOOD = json.dumps({"node": "RESLogSNRSchedule", "model": None, "inputs": {}}).encode()


@pytest.mark.parametrize(
    "name", ["../../x.json", "/etc/passwd", "..\\..\\x", "\\\\server\\share\\x", "x\0", "x" * 100_000, ["a"], {}]
)
@pytest.mark.parametrize("node", ["RESCalibrated", "RESLoadCLD"])
def test_a_name_that_is_not_offered_is_refused(server, node, name):
    report = {"class_type": "PreviewAny", "inputs": {"source": ["load", 0]}}
    graph = {"load": {"class_type": node, "inputs": {"file": name}}, "show": report}
    assert failure(lambda: server.run(graph))["node_errors"]["load"]["errors"][0]["extra_info"]["input_name"] == "file"


def test_pages_of_other_sites_cannot_ask(server):
    """The host's own rule for Origin refuses them."""
    assert request(server, "POST", GRID, _GOOD)[0] == 200
    assert request(server, "POST", GRID, _GOOD, Origin="http://evil.example")[0] == 403
    for method in ("PUT", "DELETE", "PATCH", "GET"):
        assert request(server, method, GRID)[0] in (404, 405)


def test_only_the_web_folder_is_served(server):
    base = "/extensions/ComfyUI-RES/"
    for file in (ROOT / "web").glob("*.js"):
        assert request(server, "GET", base + file.name)[0] == 200
    for path in ("", "../pyproject.toml", "%2e%2e/pyproject.toml", "..%2fpyproject.toml", "..%5cpyproject.toml", "/etc/passwd"):
        assert request(server, "GET", base + path)[0] in (403, 404), path


def test_bodies_in_pieces_and_packed_bodies_are_cut_off(server):
    """One body has 400 MB in 400 kB; the memory does not grow with it."""
    assert request(server, "POST", GRID, gzip.compress(_GOOD), **{"Content-Encoding": "gzip"})[0] == 200
    endless, bomb = (b" " * 65_536 for _ in range(400)), gzip.compress(b" " * 400_000_000)
    before = psutil.Process(server.process.pid).memory_info().rss
    for body, header in ((endless, {"Transfer-Encoding": "chunked"}), (bomb, {"Content-Encoding": "gzip"})):
        status, answer = request(server, "POST", GRID, body, **header)
        assert status == 400 and b"at most 32768 bytes" in answer
    assert psutil.Process(server.process.pid).memory_info().rss - before < 200e6


def test_many_slow_clients_keep_nobody_waiting(server):
    connections = [http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30) for _ in range(40)]
    for connection in connections:
        connection.request("POST", GRID, b"{", {"Content-Length": "100"})
    begun = time.monotonic()
    assert request(server, "POST", GRID, _GOOD)[0] == 200
    assert time.monotonic() - begun < 20.0  # one after the other they would take 200 s
    for connection in connections:
        with contextlib.closing(connection), connection.getresponse() as answer:
            assert answer.status == 400 and b"did not arrive within 5 s" in answer.read()


async def _messages(server, asks: bool) -> dict[str, list]:
    """The events of the pack and texts on nodes that two pages get about a trace which the first page, or none, requests."""
    run, graph = graph_of()
    wires = {"model": ["model", 0], "latent_image": ["latent", 0], "sampler": ["sampler", 0], "sigmas": ["sigmas", 0]}
    inputs = {**wires, "seed": 0, "filename_prefix": f"stranger/{run}"}
    graph |= {"sampler": select("euler"), "sigmas": schedule(2), "trace": {"class_type": "RESLabTrace", "inputs": inputs}}
    received = {"first": [], "second": []}

    async def listen(name, socket):
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                received[name].append(message.data)
            elif message.json()["type"].startswith("comfyui_res"):
                received[name].append(message.json()["data"])

    async with aiohttp.ClientSession() as session:
        pages = {name: await session.ws_connect(f"{server.url}/ws?clientId={name}_of_{asks}") for name in received}
        tasks = [asyncio.create_task(listen(name, socket)) for name, socket in pages.items()]
        client = {"client_id": f"first_of_{asks}"} if asks else {}
        queued = await asyncio.to_thread(server.post, "/prompt", {"prompt": graph, **client})
        await asyncio.to_thread(server.wait, queued["prompt_id"])
        await asyncio.sleep(0.5)
        for socket in pages.values():
            await socket.close()
        await asyncio.gather(*tasks)
    return received


@pytest.mark.parametrize("asks", [True, False])
def test_only_the_page_that_asked_gets_a_message_and_no_folder(server, asks):
    with ThreadPoolExecutor(1) as thread:  # in the main one a browser's event loop may be running
        received = thread.submit(asyncio.run, _messages(server, asks)).result()
    assert not received["second"] and bool(received["first"]) == asks
    assert str(server.base) not in repr(received)
    if asks:
        assert next(event["file"] for event in received["first"] if "file" in event).startswith("stranger/run ")
