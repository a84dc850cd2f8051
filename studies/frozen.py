"""Runs a study with the code of the commit that made its page, in a copy of that commit under output/.

The commit wrote "defect", the RES paper's word, where this pack's pages say "error". Its pages and pictures get today's word.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks import pages
from testbed.paths import OUTPUT, ROOT, TREE

COMMIT = "e80af63ed210c05b0c6e386de5f475ebce0e20be"
_TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
_DEFECT = re.compile(r"\b(?:d|(D))efect(s?)\b")
_VERDICT = re.compile(r"(?<=: )\*\*[A-Z].*$(?:\n  .*$)*", re.MULTILINE)
_REPORT = "import json, sys, torch; torch.set_num_threads(1); from benchmarks import pages, {0} as study; "
_REPORT += "pages.OUTPUT.mkdir(exist_ok=True); report = study.report({1}); "
_REPORT += "open(sys.argv[1], 'w', encoding='utf-8').write(json.dumps(report))"


def unavailable() -> str:
    """Why frozen studies cannot run here; empty where they can."""
    if _git("cat-file", "-e", f"{COMMIT}^{{commit}}").returncode == 0:
        return ""
    return f"its code is that of commit {COMMIT[:9]}, which this clone does not have; run git fetch --unshallow."


def report(benchmark: str, quick: bool) -> pages.Report:
    """The report of a benchmark of the commit. Its pictures are copied into output/.

    Args:
        benchmark: its name at that commit.
        quick: measure little, as a trial.

    Raises:
        SystemExit: this clone does not have the commit.
        subprocess.CalledProcessError: the benchmark failed.
    """
    tree = _tree()
    made = tree / "report.json"
    env = {**os.environ, "COMFYUI_RES_TREE": str(TREE)}
    subprocess.run([sys.executable, "-c", _REPORT.format(benchmark, quick), str(made)], cwd=tree, env=env, check=True)
    result = json.loads(made.read_text(encoding="utf-8"))
    for picture in (tree / "output").glob("*.png"):
        shutil.copyfile(picture, OUTPUT / picture.name)
    return result


def page(benchmark: str, path: str, quick: bool) -> pages.Report:
    """A report whose part "" is the page with today's text and the numbers of this run, see `renumbered`.

    Args:
        benchmark, quick: as in `report`.
        path: path of the page below the root.
    """
    result = {part: in_todays_words(made) for part, made in report(benchmark, quick).items()}
    return result if quick else result | {"": renumbered((ROOT / path).read_text(encoding="utf-8"), result[""])}


def in_todays_words(text: str) -> str:
    """The text with "error" instead of "defect"."""
    return _DEFECT.sub(lambda match: f"{'E' if match[1] else 'e'}rror{match[2]}", text)


def renumbered(text: str, made: str) -> str:
    """The text of a page with the tables and verdicts of a newly made page; a verdict is a list item from its bold word on.

    Raises:
        ValueError: the pages have different numbers of tables or of verdicts.
    """
    for pattern, what in ((_TABLE, "tables"), (_VERDICT, "verdicts")):
        new = pattern.findall(made)
        if len(new) != len(pattern.findall(text)):
            raise ValueError(f"the page has {len(pattern.findall(text))} {what}, but the study makes {len(new)}; edit the page.")
        numbers = iter(new)
        text = pattern.sub(lambda match: next(numbers), text)  # noqa: B023 (used at once)
    return text


def _tree() -> Path:
    """The folder with a copy of the commit."""
    tree = OUTPUT / f"frozen-{COMMIT[:9]}"
    if not tree.is_dir():
        if reason := unavailable():
            raise SystemExit(reason)
        part = tree.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        archive = _git("archive", COMMIT)
        archive.check_returncode()
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(part, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        labels = part / "benchmarks" / "paper_figures.py"
        labels.write_text(in_todays_words(labels.read_text(encoding="utf-8")), encoding="utf-8")
        part.rename(tree)
    return tree


def _git(*arguments: str) -> subprocess.CompletedProcess:
    # the folder may belong to another user, as in a container
    return subprocess.run(["git", "-c", "safe.directory=*", *arguments], cwd=ROOT, capture_output=True)
