"""Fixtures: the real ComfyUI in this process, and a real server."""

import asyncio
import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # after ComfyUI's tree, whose `nodes` must be found before the pack's
pytest_plugins = ["editor"]

FRONTEND = os.environ.get("COMFYUI_RES_FRONTEND")  # set if the environment has another frontend than ComfyUI requires
TREE = Path(os.environ.get("COMFYUI_RES_TREE", ROOT / ".host" / "ComfyUI"))


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also run the tests marked long")


def pytest_collection_modifyitems(config, items):
    skip = pytest.mark.skip(reason="takes long; run ./test --long")
    for item in items:
        if {"servers", "lasting_servers"} & set(item.fixturenames):
            item.add_marker(pytest.mark.server)
        if "editor" in item.fixturenames:
            item.add_marker(pytest.mark.browser)
        if {"pack", "servers", "lasting_servers", "editor"} & set(item.fixturenames):
            item.add_marker(pytest.mark.host)
        other = "one_renderer" in item.keywords and item.callspec.params["page_of_renderer"] != "classic"
        if ("long" in item.keywords or other) and not config.getoption("--long"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    """The real comfy, on the CPU, with its own base folder."""
    sys.path.insert(0, str(TREE))
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    comfy.cli_args.args.base_directory = str(tmp_path_factory.mktemp("base"))
    import nodes

    return nodes


@pytest.fixture(scope="session")
def pack(host):
    """The pack as ComfyUI loads it: {node id: class}."""
    with ThreadPoolExecutor(1) as thread:  # a browser's event loop may be running in the main thread
        assert thread.submit(asyncio.run, host.load_custom_node(str(ROOT))).result()
    return {name: node for name, node in host.NODE_CLASS_MAPPINGS.items() if name.startswith("RES")}


@contextlib.contextmanager
def _servers(tmp_path_factory):
    """A function that starts one more server with the pack and the pack for tests, and gives its client.

    Its arguments are passed to ComfyUI's main.py. The servers end with the context.
    """
    from dev.server import server as run_server
    from dev.setup import Host

    ours = "COMFYUI_PATH" not in os.environ
    test_pack = Path(__file__).with_name("host_pack")
    with contextlib.ExitStack() as stack:

        def start(*arguments):
            base = tmp_path_factory.mktemp("server")
            arguments = [*arguments, *(["--front-end-root", FRONTEND] if FRONTEND else [])]
            host = Host(TREE, Path(sys.executable), ours)
            return stack.enter_context(run_server(host, base, extra_packs=[test_pack], arguments=arguments))

        yield start


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """servers() starts one more server, for the tests of a file."""
    with _servers(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def lasting_servers(tmp_path_factory):
    """lasting_servers() starts one more server, for all tests."""
    with _servers(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def server(lasting_servers):
    """A client of a running server, shared by the tests."""
    return lasting_servers()


@pytest.fixture
def guided_digits(pack, host):
    """guided_digits(kind, cfg, digit) -> a GUIDER on a Toy Model of the digits, away from any digit."""
    from comfy_extras.nodes_custom_sampler import CFGGuider

    def make(kind="eps", cfg=3.0, digit="3", shift=3.0, width=0.1):
        model = pack["RESToyModel"].execute("digits", {"kind": kind, "shift": shift}, width).result[0]
        conditions = (pack["RESToyCondition"].execute({"data": "digits", "class": name}).result[0] for name in (digit, "any"))
        return CFGGuider.execute(model, *conditions, cfg).result[0]

    return make


@pytest.fixture
def in_flow_time(pack):
    """in_flow_time(name, time, **options) -> a SAMPLER that integrates flow models in the time map of that name."""
    import comfy.samplers

    node = sys.modules[pack["RESMultistep"].__module__]
    time_maps = sys.modules[type(node.RES_MULTISTEP).__module__.rpartition(".")[0] + ".time_maps"]

    def make(name, time, **options):
        method = replace({**node.METHODS, "res_multistep": node.RES_MULTISTEP}[name], flow_time=getattr(time_maps, time))
        return comfy.samplers.KSAMPLER(node.for_host(method), extra_options=options)

    return make
