"""Runs benchmarks and writes what they report into the documentation.

.host/venv/bin/python -m benchmarks                 # what there is, what it writes, how long it takes
.host/venv/bin/python -m benchmarks cut overhead    # runs these
.host/venv/bin/python -m benchmarks --all           # runs all, each in a process of its own
"""

import argparse
import importlib
import subprocess
import sys

import torch

from . import NAMES, pages


def module_of(name: str):
    """The module of a benchmark."""
    return importlib.import_module(f"{__package__}.{name}")


def unavailable(name: str, quick: bool) -> str:
    """Why a benchmark cannot run here; empty where it can. Measuring little is possible everywhere."""
    return "" if quick else getattr(module_of(name), "unavailable", str)()


def writes(name: str) -> list[str]:
    """The pages that a benchmark writes, or writes blocks of."""
    whole = module_of(name).PAGE
    found = [whole] if whole else []
    for file in pages.documents():
        parts = [block.part or "all" for block in pages.blocks(file.read_text(encoding="utf-8")) if block.benchmark == name]
        if parts:
            found.append(f"{file.relative_to(pages.ROOT).as_posix()} ({', '.join(parts)})")
    return found


def listing() -> str:
    """A benchmark a line: about how long it takes and what it measures; below it what it writes."""
    lines = [__doc__.strip(), "", "--quick measures little and writes into output/ alone.", ""]
    for name in NAMES:
        module = module_of(name)
        lines.append(f"{name:<17}{module.MINUTES:>3} min  {module.__doc__.splitlines()[0]}")
        lines.append(f"{'':<26}-> {', '.join(writes(name)) or 'the screen'}")
    return "\n".join(lines)


def run(name: str, quick: bool) -> None:
    """Print a report; write it where it belongs, unless it was made quickly.

    Raises:
        SystemExit: it cannot run here.
    """
    module = module_of(name)
    if reason := unavailable(name, quick):
        raise SystemExit(f"{name}: {reason}")
    torch.set_num_threads(1)  # latents this small run slower on more
    pages.OUTPUT.mkdir(exist_ok=True)
    report = module.report(quick)
    print(pages.whole(report), end="", flush=True)
    for file in () if quick else pages.publish(name, report, module.PAGE):
        pages.say(f"{name} wrote {file.relative_to(pages.ROOT)}")


def run_each(names, quick: bool) -> None:
    """Run benchmarks one after the other, each in a process of its own, so that none leaves settings or memory to the next.

    Raises:
        SystemExit: some failed; it names them after all have run.
    """
    wanted = [name for name in names if not (reason := unavailable(name, quick)) or pages.say(f"{name} is left out: {reason}")]
    if not quick:
        pages.say(f"{len(wanted)} benchmarks, about {sum(module_of(name).MINUTES for name in wanted)} minutes")
    failed = []
    for name in wanted:
        pages.say(f"{name}: {module_of(name).__doc__.splitlines()[0]}")
        command = [sys.executable, "-m", __package__, name, *["--quick"] * quick]
        if subprocess.run(command, cwd=pages.ROOT).returncode:
            failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def main(arguments: list[str] | None = None) -> None:
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Without names: lists the benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--all", action="store_true", help="all of them that can run here")
    parser.add_argument("--quick", action="store_true", help="measure little, to see that it runs; writes into output/ alone")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"a NAME must be one of {', '.join(NAMES)}, got {', '.join(unknown)}.")
    if options.all or len(options.names) > 1:
        run_each(NAMES if options.all else options.names, options.quick)
    elif options.names:
        run(*options.names, options.quick)
    else:
        print(listing())


if __name__ == "__main__":
    main()
