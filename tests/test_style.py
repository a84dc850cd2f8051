"""Lint, and rules that no linter knows."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff(command):
    done = subprocess.run([sys.executable, "-m", "ruff", *command, "--no-cache", str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_core_does_not_import_the_host():
    for folder in ("samplers", "embedded"):
        for file in (ROOT / folder).rglob("*.py"):
            assert not re.search(r"^\s*(import|from) comfy", file.read_text(), re.M), file


def test_import_is_light():
    """What the pack imports by itself: nothing heavy that the host has not loaded already."""
    code = "import sys, torch, numpy, tqdm.auto; before = set(sys.modules); import samplers, embedded.digits; "
    code += "print({m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) - {"numpy"} == {"samplers", "embedded"}
