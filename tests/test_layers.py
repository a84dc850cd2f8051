"""The order of the folders, unique names, and documents that name only existing things."""

import ast
import re
from collections import Counter
from importlib.util import resolve_name
from pathlib import PurePosixPath

import pytest
from conftest import ROOT, files

from testbed.paths import TREE

# Each folder may import the folders to its left, and itself.
LAYERS = ("samplers", "embedded", "nodes", "testbed", "training", "dev", "benchmarks", "studies", "tests")
FILES = [file.relative_to(ROOT).as_posix() for file in files("")]
MODULES = [PurePosixPath(name) for name in FILES if name.endswith(".py")]
DOCUMENTS = [name for name in FILES if re.fullmatch(r"[A-Z]+\.md|docs/\w+\.md|web/docs/.*\.md|tests/README\.md", name)]


def imported(module):
    """The folders and packages that a module imports, itself included where it imports relatively."""
    above = ".".join(["root", *module.parts[:-1]])
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module_name = getattr(node, "module", None)
            names = [module_name] if module_name else [name.name for name in node.names]
            absolute = (resolve_name("." * getattr(node, "level", 0) + name, above) for name in names)
            yield from (name.removeprefix("root.").split(".")[0] for name in absolute)


@pytest.mark.parametrize("folder", LAYERS)
def test_a_folder_imports_only_those_below_it(folder):
    above = set(LAYERS[LAYERS.index(folder) + 1 :])
    for module in MODULES:
        if module.parts[0] == folder:
            assert not above & {*imported(module)}, module


@pytest.mark.parametrize("folder", ["samplers", "nodes"])
def test_the_core_does_not_import_the_wing(folder):
    """`processes/` imports what is beside it, and nothing imports `processes/` but the list of the pack's nodes."""
    imports = re.compile(r"^\s*(?:from|import)\b[^(\n]*(?:\([^)]*)?\bprocesses\b", re.MULTILINE)
    core = [module for module in MODULES if module.parts[0] == folder and "processes" not in module.parts]
    importing = {module.as_posix() for module in core if imports.search((ROOT / module).read_text(encoding="utf-8"))}
    assert importing <= {"nodes/__init__.py"}


def test_no_two_modules_share_a_name():
    counts = Counter(module.name for module in MODULES)
    assert not {name for name, count in counts.items() if count > 1} - {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_only_files_that_exist(document):
    """Files in backticks (whole, or the end of a path, or in ComfyUI's tree), commands of this repository, and links."""
    text = (ROOT / document).read_text(encoding="utf-8")
    if document == "CHANGELOG.md":  # older versions had other files
        text = text.partition("\n## ")[2].partition("\n## ")[0]
    known = [*FILES, *{f"{parent}/" for name in FILES for parent in PurePosixPath(name).parents}]
    named = re.findall(r"`([\w./*-]+(?:\.(?:py|js|md|json|npz|png|safetensors)|/))`", text)
    ours = {name for name in named if any(PurePosixPath(file).match(name.rstrip("/")) for file in known)}
    missing = [name for name in named if name not in ours and not (TREE / name).exists()]
    for module in re.findall(r"python3? -m ([\w.]+)", text):
        path = module.replace(".", "/")
        if path.split("/")[0] in LAYERS and not {f"{path}.py", f"{path}/__main__.py"} & set(FILES):
            missing.append(module)
    for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        if not (ROOT / document).parent.joinpath(link).exists():
            missing.append(link)
    assert not missing
