"""A page of the editor in a real browser, in both of its renderers."""

import pytest
from editor import Editor

from dev.browser import ensure_chromium
from dev.setup import ROOT, SetupError

SCREENSHOTS = ROOT / "output" / "screenshots"


@pytest.fixture(scope="session")
def chromium():
    """A running browser."""
    from playwright.sync_api import sync_playwright

    try:
        path = ensure_chromium()
    except SetupError as error:
        pytest.fail(str(error), pytrace=False)
    with sync_playwright() as playwright:
        # one process may be root in a container, where the sandbox cannot work; the page is ours
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="session", params=["classic", "nodes2"])
def page_of_renderer(request, chromium, servers):
    """One page for all tests in a renderer, on a server of its own: the renderer is a setting of the server's."""
    editor = Editor(chromium, servers(), request.param, SCREENSHOTS)
    yield editor
    editor.page.close()


@pytest.fixture
def editor(page_of_renderer, request):
    """The page with an empty graph. The console must stay free of errors, and the end of every test is kept as a picture."""
    page_of_renderer.start()
    yield page_of_renderer
    page_of_renderer.screenshot(request.node.name)
    assert page_of_renderer.errors == []
