"""Lint, and rules that no linter knows."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, files


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff(command):
    done = subprocess.run([sys.executable, "-m", "ruff", *command, "--no-cache", str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_types():
    """The core is typed, as configured in pyproject.toml."""
    done = subprocess.run([sys.executable, "-m", "mypy", "--no-incremental"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_is_long():
    assert not {str(file): n for file in files(".py", ".js") if (n := len(file.read_text().splitlines())) > 400}


def test_no_function_is_long():
    """The length includes docstrings. The loop of all samplers is the exception, because it is best read in one piece."""
    long = {}
    for file in files(".py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60:
                long[f"{file.relative_to(ROOT).as_posix()} {node.name}"] = node.end_lineno - node.lineno + 1
    assert long.pop("samplers/loop.py run") <= 75
    assert not long


def test_import_is_light():
    """Every module by itself: nothing heavy that the host has not loaded already, and not scipy, which it may one day not."""
    folders = ("samplers", "embedded")
    names = [str(f.relative_to(ROOT))[:-3].replace("/", ".") for folder in folders for f in sorted((ROOT / folder).rglob("*.py"))]
    code = "import importlib, sys, torch, numpy, tqdm.auto, safetensors.torch, PIL.Image; before = set(sys.modules); "
    code += f"[importlib.import_module(name.removesuffix('.__init__')) for name in {names}]; "
    code += "print({m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) - {"numpy"} == set(folders)


def test_every_file_of_the_core_has_its_equation_and_its_test():
    """In the table of docs/architecture.md, which names nothing that is not there."""
    table = (ROOT / "docs" / "architecture.md").read_text().partition("## From equation")[2].partition("\n## ")[0]
    named = {Path(name).name for name in re.findall(r"`([\w/]+\.py)`", table)}
    core = {file.name for folder in ("samplers", "embedded") for file in (ROOT / folder).rglob("*.py")} - {"__init__.py"}
    assert named - {file.name for file in (ROOT / "tests").rglob("test_*.py")} == core
