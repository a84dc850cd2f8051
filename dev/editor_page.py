"""ComfyUI's editor in a real browser, driven as a user does; what is not on the screen goes through its JavaScript."""

import contextlib
import json
import os
import re
import time
import urllib.request

from testbed.paths import ROOT

from .browser import ensure_chromium

SCREENSHOTS = ROOT / "output" / "screenshots"

# Errors of the editor itself: files a new user does not have, addresses outside this machine, a message of its own at start, and
# its look for a help page in the user's language before the one in English.
_NOT_OURS = re.compile(r"/api/userdata|/user\.css|ERR_FAILED|graph accessed before initialization|/docs/\w+/\w+\.md")
# The list of jobs of older editors refuses every output that is text, that of the host's Preview as Text too, and their dialog of
# missing models reports that it cannot ask for the size of a file on another machine.
_OLDER_EDITORS = re.compile(r"\[Jobs API\] Error fetching jobs: ZodError|Error fetching file size: TypeError: Failed to fetch")
_READY = "window.app?.graph && app.extensionManager?.workflow && app.canvas && !!LiteGraph.registered_node_types.RESMultistep"
TIMEOUT = 20.0


def _node(variable):
    """JavaScript for the node of an id, a string or a number."""
    return f"(app.graph.getNodeById({variable}) ?? app.graph.getNodeById(+{variable}))"


@contextlib.contextmanager
def chromium():
    """A running browser.

    Raises:
        SetupError: there is none, and it cannot be installed.
    """
    from playwright.sync_api import sync_playwright  # of the tests' tools

    path = ensure_chromium()
    with sync_playwright() as playwright:
        # as root in a container the sandbox does not work; the page is our own
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Editor:
    """A page with the editor of a server.

    Attributes:
        page: Playwright's page.
        errors: errors of the console and of scripts since the test began.
    """

    def __init__(self, browser, server, renderer):
        self.server, self.renderer = server, renderer
        self.errors = []
        self.set(**{"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": renderer == "nodes2"})
        self.set(**{"Comfy.Workflow.Persist": False, "Comfy.NodeSearchBoxImpl": "default"})
        self.page = browser.new_page(viewport={"width": 1600, "height": 950})
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(f"{error}"))
        self.page.route("**/*", self._route)
        self.load()

    def set(self, **settings):
        """Store settings of the editor."""
        request = urllib.request.Request(self.server.url + "/api/settings", json.dumps(settings).encode())
        request.add_header("Content-Type", "application/json")
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).close()

    def load(self):
        """Load the page again."""
        self.page.goto(self.server.url)
        self.page.wait_for_function(_READY, timeout=90_000)
        self.page.wait_for_timeout(1500)  # a new user's default workflow is still being drawn

    def _route(self, route):
        local = route.request.url.startswith((self.server.url, "data:", "blob:"))
        route.continue_() if local else route.abort()

    def _console(self, message):
        text = f"{message.text} {message.location.get('url', '')}"
        older = "COMFYUI_RES_FRONTEND" in os.environ and _OLDER_EDITORS.search(text)
        if message.type == "error" and not _NOT_OURS.search(text) and not older:
            self.errors.append(text)

    def start(self):
        """An empty graph in view, and no errors yet."""
        self.page.keyboard.press("Escape")
        self.js("() => app.loadGraphData({nodes: [], links: [], groups: [], version: 0.4, last_node_id: 0, last_link_id: 0})")
        self.js("() => { app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0]; app.canvas.setDirty(true, true); }")
        self.errors.clear()

    def js(self, code, *arguments):
        """What a JavaScript function returns."""
        return self.page.evaluate(code, *arguments)

    def add(self, node_type, x=300, y=120, wires=None, **widgets):
        """The id of a new node; wires: {input name: (id, output slot)}."""
        node = self.js(
            "([type, pos]) => { const n = LiteGraph.createNode(type); n.pos = pos; app.graph.add(n); return String(n.id); }",
            [node_type, [x, y]],
        )
        for name, value in widgets.items():
            self.write(node, name, value)
        for name, (source, slot) in (wires or {}).items():
            self.wire(source, slot, node, name)
        return node

    def wire(self, source, slot, target, name):
        """Connect an output to a named input."""
        code = f"([s, i, t, name]) => {{ const to = {_node('t')}; "
        code += f"{_node('s')}.connect(i, to, to.inputs.findIndex((input) => input.name === name)); }}"
        self.js(code, [source, slot, target, name])

    def write(self, node, name, value):
        """Set a widget's value as a user does, with its callback."""
        code = f"([id, name, value]) => {{ const n = {_node('id')}, w = n.widgets.find((w) => w.name === name); "
        code += "w.value = value; w.callback?.(value, app.canvas, n); }"
        self.js(code, [node, name, value])

    def read(self, node, name):
        """A widget's value."""
        code = f"([id, name]) => {_node('id')}.widgets.find((w) => w.name === name).value"
        return self.js(code, [node, name])

    def prompt(self):
        """The prompt that would be queued."""
        return self.js("() => app.graphToPrompt().then((p) => p.output)")

    def saved(self):
        """The workflow that would be saved."""
        return self.js("() => JSON.parse(JSON.stringify(app.graph.serialize()))")

    def open(self, workflow):
        """Load a workflow."""
        self.js("(workflow) => app.loadGraphData(workflow)", workflow)
        self.page.wait_for_timeout(500)

    def run(self):
        """Queue the graph and return the outputs of its nodes when it is done."""
        before = set(self.server.get("/history"))
        self.js("() => app.queuePrompt(0, 1)")
        return self.until(lambda: self._finished(before), "the prompt's end", 120.0)

    def _finished(self, before):
        new = [entry for key, entry in self.server.get("/history").items() if key not in before]
        assert all(entry["status"]["status_str"] == "success" for entry in new), new
        return new[0]["outputs"] if new else None

    def until(self, check, what, timeout=TIMEOUT):
        """The first true value of check(), polled while the page lives on."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            value = check()
            if value:
                return value
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{what} did not come within {timeout:g} s")

    def screenshot(self, name):
        """Store a screenshot."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / (re.sub(r"\W+", "-", name).strip("-") + ".png"))
