"""./test: set up, then run all tests on the newest ComfyUI and the in-process tests on the oldest.

--long adds the slow tests, the in-process and server tests on every ComfyUI version, and the browser tests on the oldest version
with its own frontend. Other arguments go to pytest, which then runs only on the newest ComfyUI, and with --long on all.
"""

import os
import subprocess
import sys

from .setup import CARRIERS, NEWEST, OLDEST, ROOT, SetupError, ensure_frontend, ensure_host, ensure_tools, exit_on_signals

_MOST_WORKERS = 4


def main() -> int:
    """0 if all pytest runs passed, 5 if none ran a test, 1 otherwise."""
    exit_on_signals()
    arguments = sys.argv[1:]
    long = "--long" in arguments
    everything = set(arguments) <= {"--long"}
    statuses = []
    if "COMFYUI_PATH" in os.environ or not (everything or long):
        versions = [NEWEST]
    else:
        versions = list(CARRIERS) if long else [NEWEST, OLDEST]
    try:
        for version in versions:
            host = ensure_host(version)
            tools = ensure_tools(host, ROOT / "tests" / "requirements.txt")
            env = {**host.environment(tools), "COMFYUI_RES_TREE": str(host.tree)}
            command = [str(host.python), "-m", "pytest", "-c", "tests/pytest.ini", *(arguments or ["tests"])]
            if everything:
                command += _spread()
            if long and (frontend := ensure_frontend(host)):
                env["COMFYUI_RES_FRONTEND"] = str(frontend)
            if version != NEWEST:
                command += ["-m", _selection(version, long)]
            print(f"--- ComfyUI {version if host.ours else host.tree}", flush=True)
            statuses.append(subprocess.run(command, cwd=ROOT, env=env).returncode)
    except SetupError as error:
        print(f"test: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    nothing_selected = 5
    if set(statuses) == {nothing_selected}:
        return nothing_selected
    return int(any(status not in (0, nothing_selected) for status in statuses))


def _spread() -> list[str]:
    """Run on every core, file by file, because the tests of a file share servers; a worker needs about 3 GB of memory."""
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    return ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []


def _selection(version: str, long: bool) -> str:
    if not long:
        return "host and not server and not browser"
    return "host" if version == OLDEST else "host and not browser"


if __name__ == "__main__":
    sys.exit(main())
