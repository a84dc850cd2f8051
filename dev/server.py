"""A real ComfyUI server on a loopback port, with this pack in it, and a client for its HTTP API."""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from .setup import HOST, ROOT, Host, SetupError

START_TIMEOUT = 180
# directly to the loopback port, even if the environment names a proxy
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_FOLDERS = ("custom_nodes", "models", "input", "output", "user", "temp")


class PromptError(Exception):
    """The server refused a prompt or failed in it; `details` is what it said."""

    def __init__(self, details):
        super().__init__(json.dumps(details)[:2000])
        self.details = details


def free_port() -> int:
    """A free loopback port."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def server(host: Host, base: Path | None = None, port: int | None = None, extra_packs=(), arguments=(), pack: Path = ROOT):
    """Run ComfyUI with its own base folder, into which the pack is linked.

    Args:
        host: result of `setup.ensure_host`.
        base: ComfyUI's --base-directory; a temporary folder if None.
        port: loopback port; a free one if None.
        extra_packs: folders to link into custom_nodes in addition to this pack.
        arguments: more arguments for main.py.
        pack: the pack's folder; this checkout is linked as ComfyUI-RES, another folder by its own name if it is not there.

    Yields:
        Client: ready to take prompts.

    Raises:
        SetupError: the port is taken, or ComfyUI ends or does not answer while starting.
    """
    with contextlib.ExitStack() as stack:
        if base is None:
            base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="comfyui-res-")))
        for name in _FOLDERS:
            (base / name).mkdir(parents=True, exist_ok=True)
        for folder in (pack, *extra_packs):
            link = base / "custom_nodes" / ("ComfyUI-RES" if folder == ROOT else folder.name)
            if not link.exists():
                link.unlink(missing_ok=True)
                _link(link, folder)
        if port is not None and _taken(port):
            raise SetupError(f"port {port} is taken; name another with --port, or none to take a free one.")
        port = port or free_port()
        log = base / "server.log"
        command = [str(host.python), "main.py", "--port", str(port), "--base-directory", str(base)]
        command += ["--database-url", f"sqlite:///{base}/user/comfyui.db", "--disable-auto-launch", *_device(host), *arguments]
        with open(log, "wb") as output:
            process = subprocess.Popen(
                command,
                cwd=host.tree,
                env=host.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 (one call of libc, no locks)
            )
        stack.callback(_stop, process)
        _wait(process, port, log, host.ours)
        yield Client(f"http://127.0.0.1:{port}", process, log, base)


def _link(link: Path, folder: Path) -> None:
    if os.name == "nt":  # links are for administrators there, junctions for everyone
        import _winapi

        _winapi.CreateJunction(str(folder), str(link))
    else:
        link.symlink_to(folder, target_is_directory=True)


def _die_with_parent() -> None:
    """On Linux, end with the process that started it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _device(host: Host) -> list[str]:
    gpu = "import torch, sys; sys.exit(not (torch.cuda.is_available() or torch.backends.mps.is_available()))"
    has_gpu = shutil.which("nvidia-smi") is not None and subprocess.run([str(host.python), "-c", gpu]).returncode == 0
    return [] if has_gpu else ["--cpu"]


def _taken(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def _wait(process: subprocess.Popen, port: int, log: Path, ours: bool) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            remedy = "Run again, or delete .host to set it up again." if ours else "Start it by hand to see more."
            raise SetupError(f"ComfyUI ended while starting: {_reason(log)} {remedy}")
        with contextlib.suppress(OSError):
            _OPENER.open(f"http://127.0.0.1:{port}/system_stats", timeout=5).close()
            return
        time.sleep(0.2)
    raise SetupError(f"ComfyUI did not answer within {START_TIMEOUT} s: {_reason(log)}")


def _reason(log: Path) -> str:
    """The last line of the log, and the path of a copy that is kept."""
    lines = [line for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    kept = HOST / "server.log"
    with contextlib.suppress(OSError):
        HOST.mkdir(exist_ok=True)
        shutil.copy(log, kept)
    return f"{lines[-1].strip() if lines else 'it printed nothing'} (log: {kept})."


def _stop(process: subprocess.Popen) -> None:
    """End the server and everything that it started at once; its files are always complete."""
    if os.name == "nt":  # without groups of processes
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Client:
    """Talks to a running server."""

    def __init__(self, url: str, process: subprocess.Popen, log: Path, base: Path):
        self.url, self.process, self.log, self.base = url, process, log, base

    def get(self, path: str):
        """JSON of a GET."""
        with _OPENER.open(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, data) -> dict:
        """JSON of a POST of JSON.

        Raises:
            PromptError: the server answered with an error.
        """
        body = json.dumps(data).encode()
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"})
        try:
            with _OPENER.open(request, timeout=60) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise PromptError(json.loads(error.read() or b"{}")) from None

    def queue(self, prompt: dict, client_id: str | None = None) -> str:
        """Queue an API-format prompt; its id."""
        return self.post("/prompt", {"prompt": prompt, "client_id": client_id or str(uuid.uuid4())})["prompt_id"]

    def wait(self, prompt_id: str, timeout: float = 120) -> dict:
        """The outputs of a queued prompt by node id.

        Raises:
            PromptError: it failed.
            TimeoutError: it did not end in time.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry and entry["status"]["status_str"] == "success":
                return entry["outputs"]
            if entry:
                raise PromptError(dict(entry["status"]["messages"]))
            if self.process.poll() is not None:
                raise PromptError({"server": f"ended with {self.process.returncode}", "log": str(self.log)})
            time.sleep(0.02)
        raise TimeoutError(f"prompt {prompt_id} did not end within {timeout} s")

    def run(self, prompt: dict, timeout: float = 120) -> dict:
        """Queue a prompt and wait for its outputs."""
        return self.wait(self.queue(prompt), timeout)
