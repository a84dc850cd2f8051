"""The names of the pack on which saved workflows depend, from nodes and inputs to samplers and schedulers, and what breaks them.

python3 -m dev.interface   # records additions in tests/nodes/interface.json; refuses what breaks workflows
"""

import itertools
import json
import math
import sys
from collections.abc import Iterator

from .server import server
from .setup import ROOT, SetupError, ensure_host, exit_on_signals

SNAPSHOT = ROOT / "tests" / "nodes" / "interface.json"
_MODULE = "custom_nodes.ComfyUI-RES"  # as `server` links the pack
_CHOICE = "COMFY_DYNAMICCOMBO_V3"  # a combo whose options have inputs of their own
_NUMBERS = {"INT", "FLOAT"}
_NO_LIMITS = (-math.inf, math.inf)
_WIDGETS = {*_NUMBERS, "STRING", "BOOLEAN", "COMBO", _CHOICE}
# ComfyUI's lists end with the pack's names; these are the first of them.
_FIRST_SAMPLER, _FIRST_SCHEDULER = "exp_res", "logsnr_uniform"


def interface(object_info: dict) -> dict:
    """The snapshot of a server's /object_info."""
    nodes = {}
    for name, info in sorted(object_info.items()):
        if info["python_module"] == _MODULE:
            outputs = [list(output) for output in zip(info["output"], info["output_name"])]
            nodes[name] = {"inputs": _inputs(info["input"]), "outputs": outputs}
    offered = object_info["KSampler"]["input"]["required"]
    samplers, schedulers = offered["sampler_name"][0], offered["scheduler"][0]
    samplers = samplers[samplers.index(_FIRST_SAMPLER) :]
    return {"nodes": nodes, "samplers": samplers, "schedulers": schedulers[schedulers.index(_FIRST_SCHEDULER) :]}


def _inputs(declared: dict) -> dict:
    """name -> type, whether it is required, and options or limits, in the editor's order."""
    result = {}
    for group in ("required", "optional"):
        for name, (kind, more) in declared.get(group, {}).items():
            result[name] = {"type": kind, "required": group == "required"}
            if kind == _CHOICE:
                result[name]["options"] = {option["key"]: _inputs(option["inputs"]) for option in more["options"]}
            elif kind == "COMBO":
                result[name]["options"] = [option for option in more["options"] if not _of_a_folder(option)]
            elif kind in _NUMBERS:
                result[name]["limits"] = [more["min"], more["max"]]
    return result


def _of_a_folder(option: str) -> bool:
    """Whether an option depends on the files in a user's folder."""
    return option.endswith((".json", ".safetensors")) or option.startswith("(none")


def broken(old: dict, new: dict) -> list[str]:
    """What would break in saved workflows between two snapshots, one line each."""
    lines = [f"{kind[:-1]} {name} is gone" for kind in ("samplers", "schedulers") for name in old[kind] if name not in new[kind]]
    for name, node in old["nodes"].items():
        now = new["nodes"].get(name)
        lines += [f"node {name} is gone"] if now is None else _broken_node(name, node, now)
    return lines


def _broken_node(name: str, old: dict, new: dict) -> Iterator[str]:
    if new["outputs"][: len(old["outputs"])] != old["outputs"]:
        yield f"{name}'s outputs were {old['outputs']} and now begin differently: {new['outputs']}"
    lines = list(_broken_inputs(name, old["inputs"], new["inputs"]))
    yield from lines
    orders = list(_widget_orders(new["inputs"]))
    if not lines and not all(any(now[: len(was)] == was for now in orders) for was in _widget_orders(old["inputs"])):
        yield f"{name}'s widgets are in another order; workflows store values by position, so new widgets come last"


def _broken_inputs(where: str, old: dict, new: dict) -> Iterator[str]:
    for name, item in old.items():
        path = f"{where}.{name}"
        now = new.get(name)
        if now is None:
            yield f"{path} is gone"
            continue
        if not set(item["type"].split(",")) <= set(now["type"].split(",")):
            yield f"{path} was {item['type']} and is {now['type']}"
        if now["required"] and not item["required"]:
            yield f"{path} was optional and is required"
        low_now, high_now = now.get("limits", _NO_LIMITS)
        low, high = item.get("limits", (low_now, high_now))
        if low < low_now or high_now < high:
            yield f"{path} took {low} to {high} and takes {low_now} to {high_now}"
        for option in item.get("options", []):
            if option not in now.get("options", []):
                yield f"{path} has lost its option {option}"
            elif item["type"] == now["type"] == _CHOICE:
                yield from _broken_inputs(f"{path}={option}", item["options"][option], now["options"][option])
    for name in new.keys() - old.keys():
        if new[name]["required"]:
            yield f"{where}.{name} is new and required; prompts that were saved as API lack it, so it must be optional"


def _widget_orders(inputs: dict) -> Iterator[tuple[str, ...]]:
    """The widgets in order, once for every combination of options that have their own widgets."""
    parts = []
    for name, item in inputs.items():
        if item["type"] == _CHOICE:
            chosen = item["options"].items()
            parts.append([(f"{name}={key}", *inner) for key, nested in chosen for inner in _widget_orders(nested)])
        elif item["type"] in _WIDGETS:
            parts.append([(name,)])
    return (tuple(itertools.chain(*part)) for part in itertools.product(*parts))


def main() -> int:
    """0 with the snapshot written, or 1 with what would break on stderr."""
    exit_on_signals()
    try:
        with server(ensure_host()) as client:
            today = interface(client.get("/object_info"))
    except SetupError as error:
        print(f"interface: {error}", file=sys.stderr)
        return 1
    if SNAPSHOT.exists() and (lines := broken(json.loads(SNAPSHOT.read_text(encoding="utf-8")), today)):
        print("interface: this would break saved workflows, so it is not recorded:", *lines, sep="\n  ", file=sys.stderr)
        return 1
    SNAPSHOT.write_text(json.dumps(today, indent=1) + "\n", encoding="utf-8", newline="\n")
    print(SNAPSHOT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
