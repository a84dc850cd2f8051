"""A stranger's workflow in the real host reads and writes only in the host's folders, and its memory is limited."""

import ast
import math
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import recorded
from pixelwise import schedule

from samplers.calibration_file import CalibrationFile, write
from samplers.multistep import multistep_plan
from samplers.time_maps import VE

_SIGMAS = torch.tensor([14.6, 5.0, 1.0, 0.2, 0.03, 0.0])
# names of files outside of every folder of the host; {secret} is an existing file
OUTSIDE = [
    "{secret}", "../{name}", "../../{name}", "sub/../../{name}", "./../{name}", "../{name}/", "/{name}", "//{name}",
    "/etc/passwd", "..\\{name}", "..\\..\\{name}", "C:\\{name}", "\\\\server\\share\\{name}", "..∕{name}", "．．/{name}",
    "%2e%2e/{name}", "..%2f{name}", "{name} [input]", "../{name} [output]", "../{name}\0", "{name}\0.json", "~/{name}",
    "$HOME/{name}", "CON", "nul", "..", ".", "", " ", "\ud800", "x" * 5000, "a/" * 500 + "{name}",
]  # fmt: skip


@pytest.fixture
def base(folders):
    """The folder of all folders of the host, and a calibration and a network outside of them that nobody may read."""
    write(CalibrationFile.of(multistep_plan(_SIGMAS, 2, VE), _SIGMAS, {}), folders.parent, "secret")
    (folders.parent / "secret_00001.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    return folders


@pytest.fixture
def parts(toy, latent):
    """A model, a latent of digits and a seed."""
    return toy(), latent(2), 0


def _filled(pattern, secret):
    return pattern.replace("{secret}", str(secret)).replace("{name}", secret.name)


def _check(opened, base):
    """Nothing outside of the host's folders was read, and only the caches of Python and matplotlib were written there."""
    outside = base.parent
    assert not [path for path in opened.read if path.is_relative_to(outside) and not path.is_relative_to(base)]
    assert Path("/etc/passwd") not in opened.read
    strange = [path for path in opened.written if not path.is_relative_to(base)]
    bytecode = sys.pycache_prefix or "__pycache__"
    assert not [path for path in strange if bytecode not in str(path) and "matplotlib" not in str(path)], strange
    assert not opened.run
    assert {path.name for path in outside.iterdir()} == {"host", "secret_00001.json", "secret_00001.safetensors"}


@pytest.mark.parametrize("node, ending", [("RESCalibrated", ".json"), ("RESLoadCLD", ".safetensors")])
def test_no_name_of_a_file_to_read_leads_outside(pack, base, node, ending):
    """The names come through connections of any type, which the host does not check."""
    secret = base.parent / f"secret_00001{ending}"
    with recorded() as opened:
        for pattern in OUTSIDE:
            name = _filled(pattern, secret)
            with pytest.raises((FileNotFoundError, ValueError)):
                pack[node].execute(name)
            if node == "RESCalibrated":
                assert pack[node].fingerprint_inputs(name) == name
    assert not [path for path in opened.read if path.suffix == ending]
    _check(opened, base)


def test_no_name_of_a_calibration_leads_outside(pack, base, parts):
    with recorded() as opened:
        for pattern in OUTSIDE:
            name = _filled(pattern, base.parent / "secret_00001.json")
            with pytest.raises(ValueError, match="name must be 1 to 80"):
                pack["RESLabCalibrate"].execute(*parts, _SIGMAS, 2, name)
    assert not [path for path in opened.written if path.is_relative_to(base)]
    _check(opened, base)


@pytest.mark.parametrize("node", ["RESLabTrace", "RESLabMeasure"])
def test_no_prefix_of_a_table_leads_outside(pack, base, parts, node):
    """It is refused before the first call, or the table lies in the output folder."""
    import comfy.samplers

    inputs = (comfy.samplers.ksampler("euler"), _SIGMAS) if node == "RESLabTrace" else ("euler", "karras", "4")
    options = {} if node == "RESLabTrace" else {"reference_calls": 96, "tolerance": 0.1}
    # the test below covers the others; pictures are slow
    outside = [_filled(pattern, base.parent / "secret_00001.json") for pattern in OUTSIDE[:14]]
    with recorded() as opened:
        for name in ["plain/%year%", *outside]:
            try:
                pack[node].execute(*parts, *inputs, filename_prefix=name, **options)
            except ValueError as error:
                assert str(error).startswith("filename_prefix") and str(base) not in str(error).replace(name, "")
                assert name != "plain/%year%"
    _check(opened, base)
    tables = [path for path in opened.written if path.suffix in (".csv", ".md")]
    assert tables and all(path.is_relative_to(base / "output") for path in tables)
    kept = {path.relative_to(base).parts[0] for path in opened.written if path.is_relative_to(base)}
    assert kept <= {"output", "temp", "user"}


prefixes = st.text(max_size=12) | st.text(st.sampled_from("a1./\\ %:é∕．\0\n~$[]"), max_size=12)


@settings(max_examples=200)
@given(prefix=prefixes)
def test_whatever_the_prefix_the_stem_is_in_the_output_folder(module, base, prefix):
    files = module("nodes.lab_files")
    try:
        stem = files.output_stem(prefix)
    except ValueError as error:
        assert str(error).startswith("filename_prefix") and len(str(error)) < 1200
        return
    table = stem.with_name(stem.name + ".csv")
    assert table.resolve().is_relative_to((base / "output").resolve()) and not set('<>:"|?*\0\n') & set(table.name)
    files.write_text(table, "")
    table.unlink()


def test_records_of_the_cache_are_in_the_users_folder(module, base):
    kept = module("nodes.lab_files").store()
    with recorded() as opened:
        kept.put("abc", {}, {"x": torch.zeros(1)})
        assert kept.get("abc") is not None
    assert {path.parent for path in opened.written} <= {base / "user", base / "user" / "res_lab"}


names = st.text(max_size=30) | st.text(st.sampled_from("*?[]!-aeuler_,;\n\\()+$"), max_size=300)
names |= st.sampled_from(
    ["*" * 10_000, "[" * 10_000, "[" * 200, "*a" * 100, "[!a-" * 50, "a," * 5000, "exp_res*, " * 900, "x" * 10_001]
)


@settings(max_examples=300)
@given(text=names)
def test_whatever_is_written_into_measure_it_is_read_or_refused_at_once(module, text):
    import comfy.samplers

    entries = module("nodes.lab_entries")
    for read in (lambda: entries.sampler_entries(text, {}), lambda: entries.budgets(text)):
        begun = time.monotonic()
        try:
            names = read()
        except ValueError as error:
            assert 20 < len(str(error)) < 1000
        else:
            assert len(names) <= max(len(comfy.samplers.SAMPLER_NAMES), 10_000)
        assert time.monotonic() - begun < 1.0


def test_a_measurement_of_too_many_cells_is_refused_before_any_is_planned(pack, base, parts):
    budgets = ",".join(map(str, range(1, 2000)))
    with pytest.raises(ValueError, match="cells to measure; 20000 are the most. Name fewer"):
        pack["RESLabMeasure"].execute(*parts, "*", "*", budgets)
    assert not list(base.rglob("*.safetensors"))


def test_a_calibration_of_too_many_steps_or_pilots_is_refused_before_the_first_call(pack, base, parts):
    sigmas = torch.cat([torch.linspace(14.0, 0.1, 1500), torch.zeros(1)])
    with pytest.raises(ValueError, match="sigmas have 1500 steps; 1000 are the most"):
        pack["RESLabCalibrate"].execute(*parts, sigmas, 2, "x")
    with pytest.raises(ValueError, match="pilots must be a whole number from 2 to 256, got 1000000000"):
        pack["RESLabCalibrate"].execute(*parts, _SIGMAS, 10**9, "x")


def test_grids_and_pictures_that_fit_no_memory_are_refused(pack, parts):
    """Values beyond the widgets' limits through connections are refused, and the host's scheduler node at a tiny denoise."""
    model, uniform = parts[0], {"spacing": "uniform"}
    for node, inputs, match in (
        ("RESSigmasResample", (model, _SIGMAS, 10**9), "steps must be a whole number from 1 to 10000"),
        ("RESLogSNRSchedule", (model, 10**9, 1.0, uniform), "steps must be a whole number"),
        ("RESLogSNRSchedule", (model, 20, 1e-9, uniform), "raise denoise"),
        (None, (model, 10**12, "logsnr_arctan"), "steps must be at most 1000000"),
        ("RESToyDecode", ({"samples": torch.zeros(4096, 1, 8, 8)}, 1, 512), "Choose a smaller size"),
        ("RESSigmasSplit", (model, _SIGMAS, {"at": "percent", "percent": math.nan}), "at.percent must be"),
    ):
        begun = time.monotonic()
        with pytest.raises(ValueError, match=match):
            pack[node].execute(*inputs) if node else schedule(*inputs)
        assert time.monotonic() - begun < 1.0


def test_a_strangers_calibration_says_little_and_writes_no_lines_into_the_log(pack, base, toy, caplog):
    provenance = {"model_class": "x\n\x1b[31m" + "y" * 9000}
    file = CalibrationFile.of(multistep_plan(_SIGMAS, 2, VE), _SIGMAS, provenance)
    path = write(file, base / "res_calibrations", "mine")
    pack["RESCalibrated"].execute(path.name, toy())
    [record] = caplog.records
    assert len(record.getMessage()) < 250 and record.getMessage().isprintable()


def test_links_that_the_user_made_are_followed_as_the_host_does(pack, module, base):
    """Links in the folders of models are followed, but no link leads out of the output folder."""
    (base / "res_calibrations" / "mine.json").symlink_to(base.parent / "secret_00001.json")
    assert len(pack["RESCalibrated"].execute("mine.json").result[1]) == len(_SIGMAS)
    (base / "output" / "away").symlink_to(base.parent, target_is_directory=True)
    with pytest.raises(ValueError, match="filename_prefix 'away/x'"):
        module("nodes.lab_files").output_stem("away/x")


def test_nothing_of_the_pack_unpickles_or_evaluates(pack):
    """Only its training scripts, which are not nodes, read files with weights_only."""
    forbidden = {"eval", "exec", "compile", "__import__", "pickle", "marshal", "shelve", "joblib", "dill"}
    for file in (file for folder in ("nodes", "samplers", "embedded") for file in (ROOT / folder).rglob("*.py")):
        for item in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = item.id if isinstance(item, ast.Name) else item.name if isinstance(item, ast.alias) else None
            assert name not in forbidden, (file, name)
            assert not isinstance(item, ast.Attribute) or ast.unparse(item) not in {"torch.load", "os.system"}, file
            assert not isinstance(item, ast.keyword) or item.arg not in {"allow_pickle", "shell"}, file
    for file in (ROOT / "web").glob("*.js"):
        source = file.read_text(encoding="utf-8")
        assert not any(word in source for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "new Function")), file
