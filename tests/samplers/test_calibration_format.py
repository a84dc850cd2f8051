"""A calibration read by the rules of docs/calibration_format.md, with only the file and the page."""

import hashlib
import json
import math
import re

import pytest
import torch
from calibration_data import TIMES, Gaussian, grid_of
from conftest import ROOT

from samplers.calibration_file import MAX_BYTES, MAX_CALLS, MAX_PROVENANCE, CalibrationFile
from samplers.lab.calibration.fitting import BASES, bases

PAGE = (ROOT / "docs" / "calibration_format.md").read_text(encoding="utf-8")


def read(text):
    """The file's object, after the checks that the page demands."""
    data = json.loads(text)
    assert len(text.encode()) <= 1_000_000
    assert data["format"] == "res-calibration" and data["version"] == 1 and data["time"] in ("ve", "flow")
    sigmas = data["sigmas"]
    assert 2 <= len(sigmas) <= 1001 and sigmas[0] > 0.0 and all(a >= b >= 0.0 for a, b in zip(sigmas, sigmas[1:]))
    assert len(data["stages"]) == len(starts(sigmas))
    for k, stage in enumerate(data["stages"]):
        for name, calls in (("outputs", k + 1), ("states", k)):
            assert all(j in range(calls) and abs(weight) <= 1e6 for j, weight in stage[name])
    content = json.dumps({name: value for name, value in data.items() if name != "checksum"}, sort_keys=True)
    assert data["checksum"] == hashlib.sha256(content.encode()).hexdigest()
    return data


def starts(sigmas):
    """The sigmas from which the moving steps start."""
    result, current = [], sigmas[0]
    for sigma in sigmas[1:]:
        if current > 0.0 and (sigma == 0.0 or abs(math.log(current / sigma)) > 1e-6):
            result.append(current)
            current = sigma
    return result


def sampled(data, model, x):
    """The page's formula."""
    outputs, states = [], []
    for stage, sigma in zip(data["stages"], starts(data["sigmas"])):
        states.append(x)
        outputs.append(model(x, torch.tensor(sigma)))
        x = stage["scale"] * x + sum(weight * outputs[j] for j, weight in stage["outputs"])
        x = x + sum(weight * states[j] for j, weight in stage["states"])
    return x


@pytest.mark.parametrize("repeated", [False, True], ids=["falling", "with a repetition"])
@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("base", BASES)
def test_the_page_is_enough_to_sample(base, time, repeated):
    sigmas = grid_of(time)
    if repeated:
        sigmas = torch.cat([sigmas[:3], sigmas[2:]])
    kept = CalibrationFile.of(bases(sigmas, time)[base], sigmas, {"base": base, "who": "Jos\u00e9"})
    model = Gaussian(time)
    x = model.start(float(sigmas[0]))
    ours = kept.sample(model, x, sigmas, {}, None, True, time=time)
    torch.testing.assert_close(sampled(read(kept.to_json()), model, x), ours, rtol=1e-9, atol=1e-9)


def test_the_page_names_every_field_and_limit():
    kept = json.loads(CalibrationFile.of(bases(grid_of(TIMES[0]), TIMES[0])["exp_res_rule_0"], grid_of(TIMES[0]), {}).to_json())
    named = set(re.findall(r"^\| `(?:stages\[k\]\.)?(\w+)` \|", PAGE, re.MULTILINE))
    assert named >= kept.keys() | kept["stages"][0].keys()
    for limit in (MAX_BYTES, MAX_PROVENANCE):
        assert f"{limit:,}" in PAGE
    assert f"2 to {MAX_CALLS + 1} numbers" in PAGE and f"at most {MAX_CALLS}." in PAGE
