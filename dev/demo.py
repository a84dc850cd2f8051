"""./demo: sample the first example in a real ComfyUI and leave a picture under output/."""

import argparse
import os
import subprocess
import sys

from .setup import ROOT, SetupError, ensure_host, exit_on_signals


def main() -> int:
    """Set up with the current Python, then continue in ComfyUI's Python."""
    parser = argparse.ArgumentParser(prog="./demo", description=__doc__)
    parser.add_argument("--ui", action="store_true", help="leave the server running and print its URL; Ctrl-C ends it")
    parser.add_argument("--port", type=_port, help="loopback port of the server (default: a free one)")
    options = parser.parse_args()
    exit_on_signals()
    try:
        host = ensure_host()
    except SetupError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    command = [str(host.python), "-m", "dev.run_example", "--tree", str(host.tree), *(["--ours"] if host.ours else [])]
    command += ["--ui"] if options.ui else []
    command += ["--port", str(options.port)] if options.port else []
    os.chdir(ROOT)
    env = host.environment()
    if os.name == "nt":  # where exec would give the terminal back at once
        return subprocess.call(command, env=env)
    os.execve(command[0], command, env)


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError(f"{port} is not a port; choose 1 to 65535")
    return port


if __name__ == "__main__":
    sys.exit(main())
