"""The archive for the registry: its content, that it runs under any folder name, and the cost of its start."""

import asyncio
import contextlib
import importlib
import os
import re
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT, TREE

from benchmarks.import_time import empty_pack, imports, own, unpack
from dev import package, run_example
from dev.package import build, field, packed_files
from dev.server import server
from dev.setup import OLDEST, Host

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")  # the host then has the latter
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, COMFY = CONFIG["project"], CONFIG["tool"]["comfy"]
# Prints what the code of a folder does although a start must not: write, connect and start processes.
_WATCH = """
import os, sys, traceback

_CALLS = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.posix_spawn", "os.fork"}
_CALLS |= {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"}

def _hook(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event in _CALLS:
        files = [frame.f_code.co_filename for frame, _ in traceback.walk_stack(sys._getframe(1))]
        # importlib writes bytecode
        if "importlib" not in files[0] and any(os.environ["WATCHED"] in file for file in files):
            os.write(2, f"WATCHED {event} {arguments!r}\\n".encode())

sys.addaudithook(_hook)
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return build(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    """watch(folder, home) gives variables for a Python that watches the code of a folder."""
    hook = tmp_path_factory.mktemp("watch")
    (hook / "sitecustomize.py").write_text(_WATCH)
    path = os.pathsep.join([str(hook), *filter(None, [os.environ.get("PYTHONPATH")])])
    return lambda folder, home: {"PYTHONPATH": path, "WATCHED": str(folder), "HOME": str(home), "PYTHONPROFILEIMPORTTIME": "1"}


@pytest.fixture(scope="module")
def start(watch):
    """start(pack) runs a fresh, watched ComfyUI with the pack in its custom_nodes; gives its client."""
    with contextlib.ExitStack() as stack:

        def run(pack: Path):
            base = pack.parent.parent
            (base / "home").mkdir()
            host = Host(TREE, Path(sys.executable), ours="COMFYUI_PATH" not in os.environ)
            compiled = [sys.executable, "-m", "compileall", "-q", str(pack)]  # as it is from the second start on
            subprocess.run(compiled, env=host.environment(), check=True)
            with pytest.MonkeyPatch.context() as patch:
                for name, value in watch(pack, base / "home").items():
                    patch.setenv(name, value)
                return stack.enter_context(server(host, base, arguments=["--disable-api-nodes"], pack=pack))

        yield run


@pytest.fixture(scope="module", params=[field("name"), "ComfyUI-RES-main"])
def installed(start, tmp_path_factory, archive, request):
    """ComfyUI with the archive in a folder that is named by the Manager, and in one named as a downloaded repository."""
    return start(unpack(archive, tmp_path_factory.mktemp("installed") / "custom_nodes" / request.param))


@pytest.fixture(scope="module")
def empty(start, tmp_path_factory):
    """ComfyUI with an empty pack."""
    return start(empty_pack(tmp_path_factory.mktemp("empty") / "custom_nodes" / "empty", pyproject=True))


def _start_log(client) -> str:
    """ComfyUI's log until it began to serve."""
    return re.sub(r"\x1b\[[0-9;]*m", "", client.log.read_text(errors="replace")).partition("Starting server")[0]


def _lines(client) -> set[str]:
    """Lines of the start's log without numbers, without import times and without ComfyUI's folder."""
    lines = _start_log(client).splitlines()
    return {re.sub(r"\d+", "", line) for line in lines if not line.startswith("import time:") and str(client.base) not in line}


def _files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_two_builds_are_the_same_bytes(archive, tmp_path):
    assert build(tmp_path).read_bytes() == archive.read_bytes()


def test_no_release_is_built_with_placeholders(monkeypatch, capsys, tmp_path):
    (tmp_path / "pyproject.toml").write_text('version = "1.2.3"\nname = "a"\nPublisherId = "PLACEHOLDER"\n')
    monkeypatch.setattr(package, "ROOT", tmp_path)
    assert package.main() == 1
    assert capsys.readouterr().err == "package: replace PLACEHOLDER in PublisherId of pyproject.toml before a release.\n"


def test_it_holds_what_runs_and_nothing_else(archive):
    names = zipfile.ZipFile(archive).namelist()
    assert names == sorted(names) == packed_files()
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert folders == {"embedded", "example_workflows", "locales", "nodes", "samplers", "subgraphs", "web"}
    files = "LICENSE NOTICE README.md CHANGELOG.md CITATION.cff __init__.py pyproject.toml requirements.txt"
    assert {name for name in names if "/" not in name} == set(files.split())
    assert archive.stat().st_size < 3e6


def test_name_and_versions():
    name, version = PROJECT["name"], PROJECT["version"]
    assert (name, version) == (field("name"), field("version"))
    assert re.fullmatch(r"[a-z][a-z0-9]*([-_.][a-z0-9]+)*", name) and "comfyui" not in name and len(name) < 100
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == version
    assert re.search(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == version


def test_what_it_needs():
    """It needs the oldest tested ComfyUI and only packages that ComfyUI lacks; the registry and the Manager read the same."""
    assert COMFY["requires-comfyui"] == f">={OLDEST}"
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert wanted == PROJECT["dependencies"]
    assert all(re.fullmatch(r"[a-z0-9-]+", line) for line in wanted), "names without versions"
    hosts = re.findall(r"^[A-Za-z0-9_-]+", (TREE / "requirements.txt").read_text().lower(), re.MULTILINE)
    assert not set(wanted) & set(hosts)


def test_the_host_reads_it(monkeypatch):
    """The host reads it with the registry's parser, which leaves unknown fields empty without a message."""
    monkeypatch.syspath_prepend(str(TREE))
    from comfy_config.config_parser import extract_node_configuration

    read = extract_node_configuration(str(ROOT))
    assert read.project.license.file == "LICENSE" and "Apache License" in (ROOT / "LICENSE").read_text()
    assert read.project.supported_os == ["OS Independent"]
    assert read.project.supported_comfyui_version == COMFY["requires-comfyui"]
    assert all([read.tool_comfy.publisher_id, read.tool_comfy.display_name, read.tool_comfy.icon, read.project.urls.repository])
    assert not read.tool_comfy.web, "the web folder is registered once, by WEB_DIRECTORY"


def test_every_source_is_in_the_notice():
    notice = (ROOT / "NOTICE").read_text()
    number = re.compile(r"\b\d{4}\.\d{5}\b")
    files = [file for folder in ("samplers", "nodes", "embedded", "training", "web/docs") for file in (ROOT / folder).rglob("*")]
    text = "".join(file.read_text(encoding="utf-8") for file in files if file.suffix in (".py", ".md"))
    cited = set(re.findall(r"arXiv\s+(\d{4}\.\d{5})", text))
    assert len(cited) > 5 and cited <= set(number.findall(notice))
    assert "CC BY 4.0" in notice and "Alpaydin" in notice


@pytest.mark.parametrize("key, most, ratio", [("Icon", 400, 1.0), ("Banner", 4000, 21 / 9)])
def test_pictures(key, most, ratio):
    """They have the registry's format and the size that the script draws."""
    from PIL import Image

    from dev import art

    prefix = PROJECT["urls"]["Repository"].replace("https://github.com/", "https://raw.githubusercontent.com/") + "/HEAD/"
    assert COMFY[key].startswith(prefix)
    width, height = Image.open(ROOT / COMFY[key].removeprefix(prefix)).size
    assert width <= most and width / height == pytest.approx(ratio)
    drawn = art.PICTURES[key.lower()]()
    assert tuple(drawn.get_size_inches() * drawn.dpi) == (width, height)


@pytest.mark.server
def test_the_demo_runs_from_it(installed, tmp_path, monkeypatch):
    [pack] = (installed.base / "custom_nodes").iterdir()
    nodes = installed.get("/object_info/RESMultistep")
    assert nodes["RESMultistep"]["python_module"] == f"custom_nodes.{pack.name}"
    monkeypatch.setattr(run_example, "OUTPUT", tmp_path)
    with ThreadPoolExecutor() as pool:  # in this thread Playwright's loop may run
        picture = pool.submit(asyncio.run, run_example.sample(installed)).result()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert pack.name in installed.get("/workflow_templates")


@pytest.mark.server
def test_the_start_imports_little(installed, empty):
    """The import takes below 60 ms at rest, see `benchmarks/import_time.py`; tests that run at the same time slow it down.

    The slowest module is left out, because Python may collect the host's garbage in any module, which takes about 0.4 s.
    """
    with_pack, nothing = (imports(_start_log(client)) for client in (installed, empty))
    assert {name for name in with_pack if not own(name)} <= nothing.keys(), "no module that a start has not imported already"
    mine = sorted(ms for name, ms in with_pack.items() if own(name))
    assert len(mine) < 105 and sum(mine[:-1]) < max(200.0, 0.01 * sum(with_pack.values()))


def test_the_watch_sees(watch, tmp_path):
    """The next test relies on this."""
    code = tmp_path / "code.py"
    code.write_text("import socket; open('new', 'w').close(); socket.socket(type=socket.SOCK_DGRAM).connect(('127.0.0.1', 9))")
    options = {"cwd": tmp_path, "env": {**os.environ, **watch(tmp_path, tmp_path)}, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, str(code)], check=True, **options)
    assert re.findall(r"^WATCHED (\S+)", done.stderr, re.MULTILINE) == ["open", "socket.connect"]


@pytest.mark.server
def test_the_start_writes_nothing_and_calls_nobody(installed, empty):
    assert "WATCHED" not in _start_log(installed)
    packed = {Path(name) for name in packed_files()}
    [pack] = (installed.base / "custom_nodes").iterdir()
    assert _files(pack) == packed | {parent for name in packed for parent in name.parents if parent.name}
    for folder in ("home", "user", "models", "input"):
        assert _files(installed.base / folder) == _files(empty.base / folder)


@pytest.mark.server
def test_the_start_says_one_line_at_most(installed, empty):
    assert len(_lines(installed) - _lines(empty)) <= 1
