"""Where the tests' Chromium comes from."""

import os

import pytest

from dev import browser
from dev.setup import SetupError


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A PATH that has only the programs made by program(name, script); the user is root."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    monkeypatch.setattr(browser, "LOG", tmp_path / "setup.log")

    def program(name, script=""):
        file = tmp_path / "bin" / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return file

    program("sh", 'exec /bin/sh "$@"')
    return program


def test_the_one_that_is_named(path, monkeypatch, tmp_path):
    path("chromium")
    mine = path("mine")
    monkeypatch.setenv("CHROMIUM", str(mine))
    assert browser.ensure_chromium() == mine
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "gone"))
    with pytest.raises(SetupError, match="CHROMIUM=.*gone is no file"):
        browser.ensure_chromium()


@pytest.mark.parametrize("name", ["chromium", "google-chrome-stable"])
def test_one_on_the_path(path, name):
    placed = path(name)
    assert browser.ensure_chromium() == placed


def test_installed_as_root(path, tmp_path):
    """It runs the command that other users are asked to run."""
    path("apt-get", f'echo "$@" >> {tmp_path}/calls; [ "$1" = update ] || /bin/cp {tmp_path}/bin/sh {tmp_path}/bin/chromium')
    assert browser.ensure_chromium() == tmp_path / "bin" / "chromium"
    assert "install --yes --no-install-recommends chromium" in (tmp_path / "calls").read_text()


def test_what_to_run_where_it_cannot_be_installed(path, monkeypatch):
    with pytest.raises(SetupError, match="run: sudo sh -c 'apt-get update && apt-get install .*chromium"):
        browser.ensure_chromium()  # no apt-get
    path("apt-get", "exit 1")
    with pytest.raises(SetupError, match="as root it was tried and failed; see .*setup.log"):
        browser.ensure_chromium()
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    with pytest.raises(SetupError, match="run: sudo sh -c") as caught:
        browser.ensure_chromium()
    assert "\n" not in str(caught.value)
