"""Runs benchmarks and studies, and publishes or checks their reports."""

import argparse
import difflib
import importlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import torch

from . import pages

PACKAGES = ("benchmarks", "studies")
_MOST_AT_ONCE = 2
_DIFFERENCE = 3  # exit status


def names_of(package: str) -> dict[str, str]:
    """Name -> module of the benchmarks or studies in a package."""
    return importlib.import_module(package).NAMES


def module_of(package: str, name: str):
    """The module of a benchmark or study."""
    return importlib.import_module(f"{package}.{names_of(package)[name]}")


def unavailable(module, quick: bool) -> str:
    """Why a benchmark cannot run here; empty where it can. Measuring little is possible everywhere."""
    return "" if quick else getattr(module, "unavailable", str)()


def writes(package: str, name: str) -> list[str]:
    """The pages that a benchmark writes, or writes blocks of."""
    whole = module_of(package, name).PAGE
    places = [whole] if whole else []
    for file in pages.documents():
        parts = [block.part or "all" for block in pages.blocks(file.read_text(encoding="utf-8")) if block.name == name]
        if parts:
            places.append(f"{file.relative_to(pages.ROOT).as_posix()} ({', '.join(parts)})")
    return places


def listing(package: str, about: str) -> str:
    """How to run a package, then one line per benchmark with its minutes and its subject, and the pages that it writes."""
    lines = [about.strip(), "", "--quick measures little, as a trial, and writes only into output/.", ""]
    for name in names_of(package):
        module = module_of(package, name)
        lines.append(f"{name:<17}{module.MINUTES:>3} min  {module.__doc__.splitlines()[0]}")
        lines.append(f"{'':<26}-> {', '.join(writes(package, name)) or 'the screen'}")
    return "\n".join(lines)


def run(package: str, name: str, quick: bool, check: bool = False) -> None:
    """Print a report and publish it, or print how the documentation would change.

    Raises:
        SystemExit: it cannot run here, or `check` found a difference.
    """
    module = module_of(package, name)
    if reason := unavailable(module, quick):
        raise SystemExit(f"{name}: {reason}")
    torch.set_num_threads(1)  # latents this small run slower on more
    pages.OUTPUT.mkdir(exist_ok=True)
    report = module.report(quick)
    if check:
        difference = differences(name, report, module)
        print(difference or f"{name}: no difference")
        raise SystemExit(_DIFFERENCE if difference else 0)
    print(pages.whole(report), end="", flush=True)
    for file in () if quick else pages.publish(name, report, module.PAGE):
        pages.say(f"{name} wrote {file.relative_to(pages.ROOT)}")


def differences(name: str, report: pages.Report, module) -> str:
    """Unified diff of what publishing a report would change; the numbers of a benchmark that measures times are not compared."""

    def lines(text):
        return (re.sub(r"\d[\d.]*", "0", text) if getattr(module, "TIMES", False) else text).splitlines()

    places = []
    for file, text in pages.changes(name, report, module.PAGE).items():
        path = file.relative_to(pages.ROOT).as_posix()
        before = file.read_text(encoding="utf-8") if file.is_file() else ""
        places += difflib.unified_diff(lines(before), lines(text), path, f"{path}, measured now", lineterm="", n=0)
    return "\n".join(places)


def run_each(wanted: list[tuple[str, str]], quick: bool, check: bool) -> None:
    """Run (package, name) pairs, each in a process of its own; those that measure times run last, one at a time.

    Raises:
        SystemExit: some failed, or `check` found differences; it names them after all have run.
    """
    options = [*["--quick"] * quick, *["--check"] * check]
    possible = []
    for package, name in wanted:
        if reason := unavailable(module_of(package, name), quick):
            pages.say(f"{name} is left out: {reason}")
        else:
            possible.append((package, name))
    if not quick:
        minutes = sum(module_of(*pair).MINUTES for pair in possible)
        pages.say(f"{len(possible)} benchmarks, about {minutes} minutes of one core's time")

    def status(pair):
        pages.say(f"{pair[1]}: {module_of(*pair).__doc__.splitlines()[0]}")
        return subprocess.run([sys.executable, "-m", *pair, *options], cwd=pages.ROOT).returncode

    timed = [pair for pair in possible if getattr(module_of(*pair), "TIMES", False)]
    others = sorted((pair for pair in possible if pair not in timed), key=lambda pair: -module_of(*pair).MINUTES)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_AT_ONCE)) as at_once:
        statuses = dict(zip(others, at_once.map(status, others)))
    statuses |= {pair: status(pair) for pair in timed}
    differ = [name for (_, name), code in statuses.items() if code == _DIFFERENCE and check]
    failed = [name for (_, name), code in statuses.items() if code and name not in differ]
    problems = [f"failed: {', '.join(failed)}"] * bool(failed) + [f"the docs differ from: {', '.join(differ)}"] * bool(differ)
    if problems:
        raise SystemExit("; ".join(problems))


def main(package: str, about: str, arguments: list[str] | None = None) -> None:
    """Do as the command line of a package says."""
    names = names_of(package)
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description="Without names it lists what can run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--all", action="store_true", help="all benchmarks and studies that can run here")
    parser.add_argument("--quick", action="store_true", help="measure little, as a trial, and write only into output/")
    parser.add_argument("--check", action="store_true", help="show how the docs would change, without writing")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in names]
    if unknown:
        parser.error(f"a NAME must be one of {', '.join(names)}, got {', '.join(unknown)}.")
    if options.all:
        run_each([(each, name) for each in PACKAGES for name in names_of(each)], options.quick, options.check)
    elif len(options.names) > 1:
        run_each([(package, name) for name in options.names], options.quick, options.check)
    elif options.names:
        run(package, *options.names, options.quick, options.check)
    else:
        print(listing(package, about))
