"""What a sampler's errors depend on of the pack: the definitions that it reaches, not all of `samplers/`."""

import ast
from functools import cache
from pathlib import Path

from samplers.lab.fingerprint import fingerprint

from .. import pages

FOLDER = pages.ROOT / "samplers"
_Place = tuple[str, str]  # a module, its path below the folder without .py, and a name in it


@cache
def code_digest(sampler: str, folder: Path = FOLDER) -> str:
    """Of all that a registered sampler reaches by name; comments and docstrings do not count.

    Raises:
        KeyError: a name that METHODS of res.py does not have.
    """
    methods = _module("res", folder)["METHODS"].value
    start = dict(zip((key.value for key in methods.keys), methods.values))[sampler]
    found: dict[_Place, str] = {}
    waiting = _named(start, "res")
    while waiting:
        place = waiting.pop()
        definition = _module(place[0], folder).get(place[1])
        if place in found or definition is None:  # a builtin, a local variable or another library's
            continue
        if isinstance(definition, tuple):
            found[place] = ""
            waiting.add(definition)
        else:
            found[place] = ast.dump(_without_docstrings(definition))
            waiting |= _named(definition, place[0])
    return fingerprint(ast.dump(start), sorted(found.items()))


def _named(node: ast.AST, module: str) -> set[_Place]:
    """Where the names in a piece of code may be defined; what a function imports itself is looked up where that is."""
    found = {(module, part.id) for part in ast.walk(node) if isinstance(part, ast.Name)}
    return found.union(*(_imported(part, module).values() for part in ast.walk(node) if isinstance(part, ast.ImportFrom)))


def _imported(node: ast.ImportFrom, module: str) -> dict[str, _Place]:
    """Local name -> place, of the pack's own modules."""
    above = module.split("/")[: -node.level] if node.level else None
    if above is None or not node.module:
        return {}
    return {name.asname or name.name: ("/".join([*above, *node.module.split(".")]), name.name) for name in node.names}


@cache
def _module(module: str, folder: Path) -> dict[str, ast.stmt | _Place]:
    """The definitions at the top of a module, and where those that it imports are."""
    file, found = folder / f"{module}.py", {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body if file.is_file() else ():
        if isinstance(node, ast.ImportFrom):
            found |= _imported(node, module)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {part.id: node for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    return found


def _without_docstrings(node: ast.AST) -> ast.AST:
    for part in ast.walk(node):
        body = getattr(part, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            part.body = body[1:]
    return node
