"""Builds the archive that the registry gets: the files that git tracks, without those in .comfyignore.

`comfy node publish` takes the same files.

python3 -m dev.package   # output/<name>-<version>.zip
"""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

from testbed.paths import OUTPUT, ROOT

from .setup import SetupError

_FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip file


def packed_files() -> list[str]:
    """Paths of the files in the archive, in order, relative to the checkout.

    Raises:
        SetupError: this is not a git checkout.
    """
    return sorted(_listed() - _listed("--cached", "--ignored", "--exclude-from=.comfyignore"))


def _listed(*options: str) -> set[str]:
    # the folder may belong to another user, as in a container
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", *options]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except OSError as error:
        raise SetupError(f"git cannot be run ({error.strerror}); install it, because it lists the archive's files.") from error
    if done.returncode:
        raise SetupError(f"{ROOT} is not a git checkout ({done.stderr.strip()}); the archive is built from one.")
    return set(filter(None, done.stdout.split("\0")))


def field(name: str) -> str:
    """A one-line string of pyproject.toml, without the parser that Python 3.10 lacks."""
    return re.search(rf'^{name} = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]


def placeholders() -> list[str]:
    """Names of the fields of pyproject.toml that still have no value of their own."""
    return re.findall(r"^(\w+) = .*PLACEHOLDER", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)


def build(folder: Path = OUTPUT) -> Path:
    """Write the archive into a folder: the same bytes for the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{field('name')}-{field('version')}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in packed_files():
            entry = zipfile.ZipInfo(name, _FIRST_DAY)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(entry, (ROOT / name).read_bytes())
    return path


def main() -> int:
    """0 with the archive's path and size on stdout, or 1 with one line on stderr."""
    if names := placeholders():
        print(f"package: replace PLACEHOLDER in {', '.join(names)} of pyproject.toml before a release.", file=sys.stderr)
        return 1
    try:
        path = build()
    except (SetupError, OSError) as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    print(f"{path} ({path.stat().st_size / 1e6:.2f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
