"""Matrices stay in the wing: `processes/` imports the core, and the core knows nothing of it."""

import ast

import pytest
from conftest import ROOT

LOADS_ALL = {"nodes/__init__.py"}  # the list of the pack's nodes


@pytest.mark.parametrize("folder", ["samplers", "nodes"])
def test_nothing_outside_imports_the_wing(folder):
    found = set()
    for file in (ROOT / folder).rglob("*.py"):
        if "processes" in file.relative_to(ROOT).parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            names = [getattr(node, "module", None) or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if any("processes" in name.split(".") for name in names):
                found.add(file.relative_to(ROOT).as_posix())
    assert found == LOADS_ALL & {f"{folder}/__init__.py"}
