"""ComfyUI's editor in a real browser: fixtures, and what several tests do in it."""

import pytest

from dev import editor_page
from dev.setup import SetupError

WHOLE = "(box) => box.scrollHeight <= box.clientHeight + 1"  # whether all of a text is in view
_TRACKER = "app.extensionManager.workflow.activeWorkflow.changeTracker"


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
    failures = request.session.testsfailed
    yield page_of_renderer
    if request.config.getoption("--long") or page_of_renderer.errors or request.session.testsfailed > failures:
        page_of_renderer.screenshot(request.node.name)
    assert page_of_renderer.errors == []


class Picture:
    """A picture that the pack draws in a node, with a line of text."""

    def __init__(self, editor, selector=".res-picture", index=0):
        self.editor, self.root = editor, editor.page.locator(selector).nth(index)
        self.canvas = self.root.locator(".res-picture-canvas canvas")
        editor.until(lambda: self.root.is_visible() and self.text(), "a picture")

    def text(self):
        return self.root.locator(".res-picture-line").inner_text()

    def pixels(self):
        return self.canvas.evaluate("(canvas) => canvas.toDataURL()")

    def wait_for(self, text):
        self.editor.until(lambda: text in self.text(), f"{text!r} instead of {self.text()!r} in the picture")

    def changes(self, act):
        """Whether the pixels change soon after act()."""
        before = self.pixels()
        act()
        self.editor.until(lambda: self.pixels() != before, "another picture")


def checkpoint(editor):
    """Let the editor see the state of the graph, to which it can return."""
    editor.js(f"() => ({_TRACKER}.captureCanvasState ?? {_TRACKER}.checkState).call({_TRACKER})")


def undo(editor):
    editor.js(f"() => {_TRACKER}.undo()")


def into_a_subgraph(editor, node):
    """Make a subgraph of a node and open it."""
    code = """(id) => {
        const made = app.graph.convertToSubgraph(new Set([app.graph.getNodeById(+id)]));
        app.canvas.openSubgraph ? app.canvas.openSubgraph(made.subgraph, made.node) : app.canvas.setGraph(made.subgraph);
    }"""
    editor.js(code, node)
    editor.page.wait_for_timeout(700)
