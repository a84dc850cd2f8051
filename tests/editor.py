"""Fixtures for ComfyUI's editor in a real browser."""

import pytest

from dev import editor_page
from dev.setup import SetupError

_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Remember that a test failed, for the picture that the fixture `editor` takes after it."""
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def chromium():
    """A running browser."""
    try:
        with editor_page.chromium() as browser:
            yield browser
    except SetupError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def server_of_editor(lasting_servers):
    """A client of the server of all pages, which are used in turn because the renderer is a setting of the server."""
    return lasting_servers()


@pytest.fixture(scope="session", params=["classic", "nodes2"])
def page_of_renderer(request, chromium, server_of_editor):
    """One page for the tests of a file in a renderer, without the jobs of other files."""
    server_of_editor.post("/history", {"clear": True})
    editor = editor_page.Editor(chromium, server_of_editor, request.param)
    yield editor
    editor.page.close()


@pytest.fixture
def editor(page_of_renderer, request):
    """The page with an empty graph. The console must stay free of errors; the end of a failed test is kept as a picture.

    With --long the end of every test is kept.
    """
    page_of_renderer.start()
    yield page_of_renderer
    if request.config.getoption("--long") or page_of_renderer.errors or request.node.stash.get(_FAILED, False):
        page_of_renderer.screenshot(request.node.name)
    assert page_of_renderer.errors == []
