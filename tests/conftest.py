"""Fixtures: the real ComfyUI in this process, and a real server."""

import asyncio
import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # after ComfyUI's tree, whose `nodes` must be found before the pack's
pytest_plugins = ["editor"]
# the same examples in every run, on a busy machine as well
settings.register_profile("steady", deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
settings.load_profile("steady")

FRONTEND = os.environ.get("COMFYUI_RES_FRONTEND")  # set if the environment has another frontend than ComfyUI requires
TREE = Path(os.environ.get("COMFYUI_RES_TREE", ROOT / ".host" / "ComfyUI"))


def files(*endings):
    """The repository's files whose names have one of the endings, without those that git ignores."""
    from dev.package import _listed

    listed = _listed("--cached", "--others", "--exclude-standard")
    return [ROOT / name for name in sorted(listed) if name.endswith(endings) and (ROOT / name).is_file()]


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


def _servers(tmp_path_factory):
    """A function that starts one more server with the pack and the pack for tests, and gives its client.

    Its arguments are passed to ComfyUI's main.py. The servers of `servers` end with the file, the others with all tests.
    """
    from dev.server import server as run_server
    from dev.setup import Host

    with contextlib.ExitStack() as stack:

        def start(*arguments):
            base = tmp_path_factory.mktemp("server")
            arguments = [*arguments, *(["--front-end-root", FRONTEND] if FRONTEND else [])]
            host = Host(TREE, Path(sys.executable), ours="COMFYUI_PATH" not in os.environ)
            packs = [Path(__file__).with_name("host_pack")]
            return stack.enter_context(run_server(host, base, extra_packs=packs, arguments=arguments))

        yield start


servers = pytest.fixture(scope="module")(_servers)
lasting_servers = pytest.fixture(scope="session")(_servers)


@pytest.fixture(scope="session")
def server(lasting_servers):
    """A client of a running server, shared by the tests."""
    return lasting_servers()


@pytest.fixture(scope="session")
def module(pack):
    """module(name) -> a module of the pack as ComfyUI has imported it."""
    root = pack["RESSDE"].__module__.rpartition(".nodes.")[0]
    return lambda name: sys.modules[f"{root}.{name}"]


@pytest.fixture(scope="session")
def toy(pack):
    """toy(kind, width, shift, data) -> a new MODEL of the digits or the emoji."""
    return lambda kind="eps", width=0.1, shift=3.0, data="digits": (
        pack["RESToyModel"].execute(data, {"kind": kind, "shift": shift}, width).result[0]
    )


@pytest.fixture(scope="session")
def digit(pack):
    """digit(name, data) -> CONDITIONING of a class of the digits or the emoji."""
    return lambda name="any", data="digits": pack["RESToyCondition"].execute({"data": data, "class": name}).result[0]


@pytest.fixture(scope="session")
def latent(pack):
    """latent(batch, data) -> an empty LATENT."""
    return lambda batch=4, data="digits": pack["RESToyLatent"].execute(data, batch).result[0]


@pytest.fixture
def cld(pack):
    """A new MODEL of CLD."""
    return pack["RESDigitsProcessModel"].execute({"process": "CLD", "kind": "R"}, 0.1).result[0]


@pytest.fixture
def gddim_sample(pack, digit, latent):
    """gddim_sample(model, mode, steps, ...) -> samples of gDDIM Sample on gDDIM Times."""

    def sample(model, mode, steps=20, batch=4, cfg=1.0, name="3", seed=3, start=None, denoise=1.0, sigmas=None):
        if sigmas is None:
            sigmas = pack["RESGDDIMTimes"].execute(model, steps, denoise, 2.0, 0.0).result[0]
        arguments = digit(name), digit(), sigmas, start or latent(batch), mode
        return pack["RESGDDIMSample"].execute(model, seed, cfg, *arguments).result[0]["samples"]

    return sample


@pytest.fixture
def guided_digits(toy, digit):
    """guided_digits(kind, cfg) -> a GUIDER on a model of the digits, from any digit to threes."""
    from comfy_extras.nodes_custom_sampler import CFGGuider

    return lambda kind="eps", cfg=3.0: CFGGuider.execute(toy(kind), digit("3"), digit("any"), cfg).result[0]


@pytest.fixture
def by_guider(pack):
    """by_guider(noise, guider, sampler, sigmas, latent) -> samples of SamplerCustomAdvanced by a SAMPLER or its name."""
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    def sample(noise, guider, sampler, sigmas, latent):
        sampler = comfy.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler
        return SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).result[0]["samples"]

    return sample


@pytest.fixture
def counted(host):
    """counted(model) -> a list that gets an entry at every call of a MODEL's denoiser."""
    import comfy.patcher_extension

    def count(model):
        calls = []
        wrapper = lambda executor, *args, **kwargs: calls.append(1) or executor(*args, **kwargs)  # noqa: E731
        model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREDICT_NOISE, "count", wrapper)
        return calls

    return count


@pytest.fixture
def folders(pack, tmp_path, monkeypatch):
    """A folder with new folders of ComfyUI: output, input, temp, user and two of models."""
    import folder_paths

    base = tmp_path / "host"
    for name in ("output", "input", "temp", "user"):
        (base / name).mkdir(parents=True)
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(base / name))
    for name in ("res_calibrations", "diffusion_models"):
        (base / name).mkdir()
        paths = [str(base / name)], folder_paths.folder_names_and_paths[name][1]
        monkeypatch.setitem(folder_paths.folder_names_and_paths, name, paths)
    folder_paths.filename_list_cache.clear()
    yield base
    folder_paths.filename_list_cache.clear()


@pytest.fixture
def in_flow_time(pack, module):
    """in_flow_time(name, time, **options) -> a SAMPLER that integrates flow models in the time map of that name."""
    node, time_maps = sys.modules[pack["RESMultistep"].__module__], module("samplers.time_maps")

    def make(name, time, **options):
        method = replace({**node.METHODS, "res_multistep": node.RES_MULTISTEP}[name], flow_time=getattr(time_maps, time))
        return node.as_sampler(method, **options)

    return make
