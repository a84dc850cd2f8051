"""The time that the pack adds to ComfyUI's start, by -X importtime, compared with a pack that does nothing.

The pack is the published archive with compiled bytecode, as at a second start. Each time is a module's own time and the
smallest of the runs, because other processes can only add to it. Python collects no garbage meanwhile, because a collection goes
through all of ComfyUI's objects, takes about 0.4 s, and counts for the module that happens to start it.
"""

import compileall
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from dev.package import build, field
from testbed.paths import ROOT, TREE

from . import pages

PAGE, PARTS, MINUTES = None, (), 2
TIMES = True
RUNS = 3
_LINE = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \| +(.+)$", re.MULTILINE)  # a folder's name may have spaces
_START = "import gc, runpy, sys; gc.disable(); sys.argv[0] = 'main.py'; runpy.run_path('main.py', run_name='__main__')"
_EMPTY = """
async def comfy_entrypoint():
    from comfy_api.v0_0_2 import ComfyExtension

    class Empty(ComfyExtension):
        async def get_node_list(self):
            return []

    return Empty()
"""


def unpack(archive: Path, folder: Path) -> Path:
    """The published archive in a folder, compiled."""
    with zipfile.ZipFile(archive) as files:
        files.extractall(folder)
    return _compiled(folder)


def empty_pack(folder: Path, pyproject: bool) -> Path:
    """A pack without nodes, with our pyproject.toml or without one."""
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(_EMPTY)
    if pyproject:
        (folder / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    return _compiled(folder)


def _compiled(folder: Path) -> Path:
    compileall.compile_dir(folder, quiet=1)
    return folder


def imports(log: str) -> dict[str, float]:
    """Each module's own milliseconds in an -X importtime log."""
    return {name: int(microseconds) / 1e3 for microseconds, name in _LINE.findall(log)}


def own(name: str) -> bool:
    """Whether a module belongs to a custom node pack."""
    return "/custom_nodes/" in name


def _start(base: Path) -> dict[str, float]:
    """`imports` of a start that ends where packs are loaded."""
    for name in ("models", "input", "output", "user", "temp"):
        (base / name).mkdir(exist_ok=True)
    command = [sys.executable, "-X", "importtime", "-c", _START, "--cpu", "--quick-test-for-ci", "--disable-api-nodes"]
    command += ["--base-directory", str(base), "--database-url", f"sqlite:///{base}/user/comfyui.db"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return imports(subprocess.run(command, cwd=TREE, env=env, capture_output=True, text=True, check=True).stderr)


def least(base: Path, runs_made: int) -> dict[str, float]:
    """The smallest time of every module over several starts."""
    runs = [_start(base) for _ in range(runs_made)]
    return {name: min(run.get(name, ms) for run in runs) for name, ms in runs[0].items()}


def report(quick: bool = False) -> pages.Report:
    """The table: modules and milliseconds of each pack."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        kinds = ("empty", "empty, with a pyproject.toml", "this pack")
        packs = [Path(folder, kind, "custom_nodes", field("name")) for kind in kinds]
        empty_pack(packs[0], pyproject=False)
        empty_pack(packs[1], pyproject=True)
        unpack(build(Path(folder)), packs[2])
        result = [least(pack.parent.parent, 1 if quick else RUNS) for pack in packs]
        for kind, modules in zip(kinds, result, strict=True):
            ours = [ms for name, ms in modules.items() if own(name)]
            others = [f"{name} {ms:.1f} ms" for name, ms in modules.items() if not own(name) and name not in result[0]]
            lines.append([kind, ", ".join(others) or "none", str(len(ours)), f"{sum(ours):.0f}"])
    return {"": pages.table(["pack", "others that only it imports", "modules of its own", "ms"], lines, 2)}
