"""What saved workflows name of the pack stays: today's /object_info beside the committed snapshot."""

import copy
import json

import pytest

from dev.interface import SNAPSHOT, broken, interface

RECORDED = json.loads(SNAPSHOT.read_text(encoding="utf-8"))


@pytest.fixture
def today(server):
    return interface(server.get("/object_info"))


def test_saved_workflows_keep_working(today):
    assert broken(RECORDED, today) == []


def test_additions_are_recorded(today):
    assert today == RECORDED, "run python3 -m dev.interface and commit tests/nodes/interface.json"


def test_files_of_the_user_are_no_part_of_it():
    def of(options):
        node = {"python_module": "custom_nodes.ComfyUI-RES", "output": [], "output_name": []}
        node["input"] = {"required": {"file": ["COMBO", {"options": options}]}}
        offered = {"sampler_name": [["euler", "exp_res"]], "scheduler": [["simple", "logsnr_uniform"]]}
        return interface({"RESNode": node, "KSampler": {"python_module": "nodes", "input": {"required": offered}}})

    assert of(["digits (embedded)", "mine.safetensors", "mine_00001.json", "(none yet: make one)"]) == of(["digits (embedded)"])


def _inputs(snapshot, node="RESMultistep"):
    return snapshot["nodes"][node]["inputs"]


def _steps(snapshot):
    return _inputs(snapshot, "RESLogSNRSchedule")["steps"]


def _first(inputs, name, item):
    items = list(inputs.items())
    inputs.clear()
    inputs.update([(name, item), *items])


BREAKS = {
    "node RESMultistep is gone": lambda s: s["nodes"].pop("RESMultistep"),
    "RESMultistep.order is gone": lambda s: _inputs(s).pop("order"),
    "RESLogSNRSchedule.steps was INT and is FLOAT": lambda s: _steps(s).update(type="FLOAT"),
    "RESMultistep.order has lost its option auto": lambda s: _inputs(s)["order"].update(options=["1", "2", "3", "4"]),
    "RESMultistep.interpolation has lost its option alpha": lambda s: _inputs(s)["interpolation"]["options"].pop("alpha"),
    "RESMultistep.interpolation=alpha.power is gone": lambda s: _inputs(s)["interpolation"]["options"]["alpha"].pop("power"),
    "RESLogSNRSchedule.steps took 1 to 10000 and takes 1 to 9": lambda s: _steps(s).update(limits=[1, 9]),
    "RESLogSNRSchedule.steps took 1 to 10000 and takes 2 to 10000": lambda s: _steps(s).update(limits=[2, 10000]),
    "RESMultistep.new is new and required": lambda s: _inputs(s).update(new={"type": "INT", "required": True}),
    "RESMultistep's widgets are in another order": lambda s: _first(_inputs(s), "new", {"type": "INT", "required": False}),
    "RESLabMeasure.vae was optional and is required": lambda s: _inputs(s, "RESLabMeasure")["vae"].update(required=True),
    "RESLabMeasure's outputs were": lambda s: s["nodes"]["RESLabMeasure"]["outputs"].reverse(),
    "sampler exp_res_2m is gone": lambda s: s["samplers"].remove("exp_res_2m"),
    "scheduler logsnr_arctan is gone": lambda s: s["schedulers"].remove("logsnr_arctan"),
}


@pytest.mark.parametrize("line", BREAKS)
def test_what_breaks_is_named(line):
    changed = copy.deepcopy(RECORDED)
    BREAKS[line](changed)
    assert any(result.startswith(line) for result in broken(RECORDED, changed))


def test_additions_break_nothing():
    changed = copy.deepcopy(RECORDED)
    _inputs(changed)["new"] = {"type": "INT", "required": False}
    _inputs(changed)["order"]["options"].insert(0, "new")
    _steps(changed)["limits"] = [0, 10001]
    _inputs(changed, "RESLabMeasure")["model"]["type"] += ",NEW"
    changed["nodes"]["RESNew"] = {"inputs": {"new": {"type": "INT", "required": True}}, "outputs": []}
    changed["nodes"]["RESLabMeasure"]["outputs"].append(["STRING", "new"])
    changed["samplers"].append("exp_new")
    assert broken(RECORDED, changed) == []
