"""Writes the English locale and the inputs and outputs of help pages from the nodes' schemas.

.host/venv/bin/python -m dev.generate
"""

import json
import re
import sys
from pathlib import Path

from testbed.in_process import load
from testbed.paths import ROOT

NODE_DEFS = ROOT / "locales" / "en" / "nodeDefs.json"
PAGES = ROOT / "web" / "docs"
_SECTIONS = re.compile(r"(?<=^## Inputs\n\n).*?(?=^## (?!Outputs))", re.MULTILINE | re.DOTALL)


def nodes_of_pack() -> dict[str, type]:
    """Node id -> class, as ComfyUI has loaded it."""
    load()
    return {name: node for name, node in sys.modules["nodes"].NODE_CLASS_MAPPINGS.items() if name.startswith("RES")}


def inputs_of(declared: list, prefix: str = ""):
    """(name, input) of every input, each once; inputs of options have dotted names."""
    seen = set()
    for item in declared:
        yield prefix + item.id, item
        for option in getattr(item, "options", None) or []:
            for name, inner in inputs_of(getattr(option, "inputs", []), f"{prefix}{item.id}."):
                if name not in seen:
                    seen.add(name)
                    yield name, inner


def node_defs(nodes: dict[str, type]) -> dict:
    """The locale's nodeDefs.json; the editor looks up dotted names with underscores."""
    result = {}
    for node_id, node in sorted(nodes.items()):
        of = node.define_schema()
        inputs = {name.replace(".", "_"): _words(name.rpartition(".")[2], item) for name, item in inputs_of(of.inputs)}
        outputs = {str(index): _words(item.display_name or item.get_io_type(), item) for index, item in enumerate(of.outputs)}
        result[node_id] = {"display_name": of.display_name, "description": of.description, "inputs": inputs, "outputs": outputs}
    return result


def _words(name: str, item) -> dict[str, str]:
    return {"name": name, "tooltip": item.tooltip} if item.tooltip else {"name": name}


def page(text: str, node: type) -> str:
    """A help page with the sections on inputs, and on outputs that have a tooltip, from the schema."""
    schema = node.define_schema()
    lines = [f"- **{name}**: {item.tooltip or ''}" for name, item in inputs_of(schema.inputs)]
    if outputs := [f"- **{item.display_name or item.get_io_type()}**: {item.tooltip}" for item in schema.outputs if item.tooltip]:
        lines += ["", "## Outputs", "", *outputs]
    return _SECTIONS.sub(lambda _: "\n".join(lines) + "\n\n", text)


def as_json(value) -> str:
    """How locale files are written."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """Write everything."""
    nodes = nodes_of_pack()
    _write(NODE_DEFS, as_json(node_defs(nodes)))
    for node_id, node in nodes.items():
        path = PAGES / f"{node_id}.md"
        _write(path, page(path.read_text(encoding="utf-8"), node))


if __name__ == "__main__":
    main()
