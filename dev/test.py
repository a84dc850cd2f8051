"""./test: set up, then pytest on the newest host and the in-process tests on the oldest.

--long adds what takes long, and the server tests on every host version. Other arguments go to pytest.
"""

import subprocess
import sys

from .setup import CARRIERS, NEWEST, ROOT, SetupError, ensure_host, ensure_tools


def main() -> int:
    """The worst exit status of the pytest runs."""
    arguments = sys.argv[1:]
    long = "--long" in arguments
    statuses = []
    try:
        for version in CARRIERS:
            host = ensure_host(version)
            tools = ensure_tools(host, ROOT / "tests" / "requirements.txt")
            env = {**host.environment(tools), "COMFYUI_RES_TREE": str(host.tree), "PYTHONDONTWRITEBYTECODE": "1"}
            command = [str(host.python), "-m", "pytest", "-c", "tests/pytest.ini", *(arguments or ["tests"])]
            if version != NEWEST:
                command += ["-m", "host" if long else "host and not server"]
            print(f"--- ComfyUI {version if host.ours else host.tree}", flush=True)
            statuses.append(subprocess.run(command, cwd=ROOT, env=env).returncode)
    except SetupError as error:
        print(f"test: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    nothing_selected = 5
    return max(status for status in statuses if status != nothing_selected) if set(statuses) != {5} else 5


if __name__ == "__main__":
    sys.exit(main())
