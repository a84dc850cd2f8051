"""Frozen studies run the code of their commit, and their pages say what this code reports."""

import subprocess

import pytest
from conftest import ROOT

from studies import cut, frozen, paper

NEEDS_COMMIT = pytest.mark.skipif(bool(frozen.unavailable()), reason=frozen.unavailable())


@NEEDS_COMMIT
@pytest.mark.parametrize("name", ["paper", "gddim", "choices"])
def test_the_commit_has_the_study(name):
    assert frozen._git("cat-file", "-e", f"{frozen.COMMIT}:benchmarks/{name}.py").returncode == 0


@NEEDS_COMMIT
@pytest.mark.long
def test_the_code_is_that_of_the_commit(tmp_path, monkeypatch):
    """The copy of the commit runs one of its quick benchmarks."""
    monkeypatch.setattr(frozen, "OUTPUT", tmp_path)
    report = frozen.report("cut", quick=True)
    assert report.keys() == {""} and report[""].count("\n") == len(cut.SAMPLERS) + 1
    [tree] = tmp_path.iterdir()
    assert (tree / "benchmarks" / "paper_claims.py").is_file() and tree.name == f"frozen-{frozen.COMMIT[:9]}"


@NEEDS_COMMIT
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_study_makes_the_page_and_its_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "OUTPUT", tmp_path)
    made, page = paper.report(quick=True)[""], (ROOT / paper.PAGE).read_text(encoding="utf-8")
    assert made.splitlines()[0] == page.splitlines()[0] and made.count("](results_") == page.count("](results_")
    assert (tmp_path / "results_orders.png").stat().st_size > 5_000


def test_a_page_says_which_code_made_it():
    page = (ROOT / paper.PAGE).read_text(encoding="utf-8")
    assert f"python -m studies paper`, which runs the code of commit {frozen.COMMIT[:9]} " in page


def test_pages_say_error():
    made = "Defect and spread: the defects of 9 calls, divided by the defect of RES-2S: results_defects.png"
    expected = "Error and spread: the errors of 9 calls, divided by the error of RES-2S: results_defects.png"
    assert frozen.in_todays_words(made) == expected


def test_a_clone_without_the_commit_says_what_to_do(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setattr(frozen, "ROOT", tmp_path)
    monkeypatch.setattr(frozen, "OUTPUT", tmp_path)
    with pytest.raises(SystemExit, match="which this clone does not have; run git fetch --unshallow"):
        frozen.report("paper", quick=True)


def test_a_page_keeps_its_text_and_gets_new_numbers():
    made = "Old words.\n\n- A below B: **Holds.** 0.5 [0.4, 0.6].\n\n| a | b |\n|---|--:|\n| x | 2 |\n\nMore.\n"
    page = "New words.\n\n- A is below B: **Not decided.** 0.9 [0.8, 1.1].\n\n| a | b |\n|---|--:|\n| x | 1 |\n\nThe end.\n"
    expected = page.replace("**Not decided.** 0.9 [0.8, 1.1].", "**Holds.** 0.5 [0.4, 0.6].").replace("| x | 1 |", "| x | 2 |")
    assert frozen.renumbered(page, made) == expected
    assert frozen.renumbered(expected, made) == expected
    with pytest.raises(ValueError, match="the page has 0 verdicts, but the study makes 1; edit the page"):
        frozen.renumbered("| a |\n", made)
