"""Finds the Chromium for the browser tests, or installs Debian's."""

import os
import shutil
import subprocess
from pathlib import Path

from .setup import LOG, SetupError

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_INSTALL = "apt-get update && apt-get install --yes --no-install-recommends chromium fonts-dejavu-core"


def ensure_chromium() -> Path:
    """A Chromium or Chrome: the one that CHROMIUM names, one on PATH, or Debian's, installed where this runs as root.

    Raises:
        SetupError: there is none; the message names the command to run.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        if not Path(named).is_file():
            raise SetupError(f"CHROMIUM={named} is no file; name a Chromium or Chrome, or unset it.")
        return Path(named)
    return _on_path() or _installed()


def _on_path() -> Path | None:
    return next((Path(result) for result in map(shutil.which, _NAMES) if result), None)


def _installed() -> Path:
    remedy = f"the browser tests need Chromium or Chrome; run: sudo sh -c '{_INSTALL}'"
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise SetupError(remedy)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["sh", "-c", _INSTALL], env=environment, capture_output=True, text=True, errors="replace")
    LOG.parent.mkdir(exist_ok=True)
    with open(LOG, "a", encoding="utf-8") as log:
        log.write(f"$ {_INSTALL}\n{done.stdout}{done.stderr}\n")
    result = _on_path()
    if result is None:
        raise SetupError(f"{remedy} (as root it was tried and failed; see {LOG})")
    return result
