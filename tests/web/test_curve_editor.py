"""The curve editor works by mouse and keyboard, with undo, saving and loading; its only value is the JSON in the widget."""

import json
import math

import pytest
from editor import checkpoint, undo

START = "[[0, 0], [0.4, 0.6], [1, 1]]"


class Curve:
    """The editor in a node."""

    def __init__(self, editor, text=START):
        self.editor, self.page = editor, editor.page
        self.model = editor.add("RESToyModel", 40, 120)
        self.node = editor.add("RESLogSNRCurve", 400, 40, {"model": (self.model, 0)}, curve=text)
        self.find()

    def find(self):
        self.area = self.page.locator(".res-curve").first
        self.editor.until(lambda: self.area.is_visible() and self.handles().count() == len(self.points()), "handles")
        self.page.wait_for_timeout(300)

    def handles(self):
        return self.area.locator(".res-handle")

    def points(self):
        return json.loads(self.editor.read(self.node, "curve"))

    def at(self, u, share):
        """A place on the screen."""
        box = self.area.locator("canvas").bounding_box()
        return box["x"] + u * box["width"], box["y"] + (1 - share) * box["height"]

    def moved(self, start, end):
        """Drag the inner point of three; check that it follows."""
        self.drag(start, end)
        [first, moved, last] = self.points()
        assert moved == pytest.approx(end, abs=0.02) and (first, last) == ([0, 0], [1, 1])

    def drag(self, start, end):
        self.page.mouse.move(*self.at(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*((s + e) / 2 for s, e in zip(start, end))), steps=3)
        self.page.mouse.move(*self.at(*end), steps=3)
        self.page.mouse.up()
        self.page.wait_for_timeout(200)

    def pixels(self):
        return self.area.locator("canvas").evaluate("(canvas) => canvas.toDataURL()")


@pytest.fixture
def curve(editor):
    return Curve(editor)


def test_dragged(curve):
    before, place = curve.pixels(), curve.editor.js("(id) => [...app.graph.getNodeById(+id).pos]", curve.node)
    curve.moved((0.4, 0.6), (0.6, 0.3))
    curve.editor.until(lambda: curve.pixels() != before, "another curve")
    assert curve.editor.js("(id) => [...app.graph.getNodeById(+id).pos]", curve.node) == place, "the node stays"
    assert curve.editor.prompt()[curve.node]["inputs"]["curve"] == curve.editor.read(curve.node, "curve")


def test_points_stay_between_their_neighbours(curve):
    curve.drag((0.4, 0.6), (1.0, 1.0))
    assert curve.points()[1] == pytest.approx([0.999, 0.999])
    curve.drag((0.999, 0.999), (0.2, 0.3))
    curve.drag((0, 0), (0.5, 0.5))
    assert curve.points()[0] == [0, 0], "the ends stay"


def test_added_by_a_click_and_removed_by_delete(curve):
    gestures = curve.page.locator(".res-curve-bar span").first.inner_text()
    assert all(word in gestures for word in ("Click to add", "drag", "Delete", "double-click"))
    curve.page.mouse.click(*curve.at(0.7, 0.9))
    curve.editor.until(lambda: len(curve.points()) == 4, "a point")
    assert curve.points()[2] == pytest.approx([0.7, 0.9], abs=0.02)
    curve.page.keyboard.press("Delete")
    assert curve.points() == json.loads(START) and curve.editor.js("() => app.graph.nodes.length") == 2
    curve.drag((0.8, 0.2), (0.9, 0.4))
    assert curve.points() == json.loads(START), "a drag of nothing adds nothing"


def test_presets(curve):
    """The second is the EDM grid of rho 7 on Stable Diffusion's sigmas, within the accuracy of a curve drawn by hand."""
    select = curve.page.locator(".res-curve-bar select").first
    for name in ("composition", "detail", "uniform", "karras"):
        select.select_option(name)
        curve.find()
    at = [0.25, 0.5, 0.75]
    start, end = (sigma ** (1 / 7) for sigma in (14.6146, 0.0291675))
    share = [math.log(14.6146 / (start + u * (end - start)) ** 7) / math.log(14.6146 / 0.0291675) for u in at]
    assert curve.points() == [[0, 0], *([u, pytest.approx(s, abs=0.005)] for u, s in zip(at, share)), [1, 1]]


def test_added_and_removed_by_double_clicks(curve):
    curve.page.mouse.dblclick(*curve.at(0.7, 0.9))
    curve.editor.until(lambda: len(curve.points()) == 4, "a point")
    assert curve.points()[2] == pytest.approx([0.7, 0.9], abs=0.02)
    curve.page.mouse.dblclick(*curve.at(0.4, 0.6))
    curve.editor.until(lambda: len(curve.points()) == 3, "one point less")
    assert curve.points()[1] == pytest.approx([0.7, 0.9], abs=0.02)


def test_by_keyboard(curve):
    """The editor of workflows, which deletes nodes with the same key, does not get the keys."""
    curve.handles().nth(0).focus()
    curve.page.keyboard.press("Tab")
    assert "point 2 of 3" in curve.page.evaluate("() => document.activeElement.getAttribute('aria-label')")
    moves = {"ArrowRight": [0.41, 0.6], "ArrowUp": [0.41, 0.61], "Shift+ArrowLeft": [0.36, 0.61], "ArrowDown": [0.36, 0.6]}
    for key, point in moves.items():
        curve.page.keyboard.press(key)
        assert curve.points()[1] == pytest.approx(point)
    curve.page.keyboard.press("Enter")
    assert len(curve.points()) == 4 and curve.points()[2] == pytest.approx([0.68, 0.8])
    curve.page.keyboard.press("Delete")
    assert len(curve.points()) == 3
    curve.page.keyboard.press("Delete")
    curve.page.keyboard.press("Delete")
    assert curve.points() == [[0, 0], [1, 1]]
    assert curve.editor.js("() => app.graph.nodes.length") == 2


def test_undone(curve):
    checkpoint(curve.editor)
    curve.moved((0.4, 0.6), (0.5, 0.2))
    undo(curve.editor)
    curve.editor.until(lambda: curve.points() == json.loads(START), "the old curve")
    curve.find()
    curve.moved((0.4, 0.6), (0.7, 0.8))


def test_saved_and_loaded(curve):
    curve.drag((0.4, 0.6), (0.6, 0.3))
    text = curve.editor.read(curve.node, "curve")
    workflow = curve.editor.saved()
    curve.editor.load()  # reload the page
    curve.editor.open(workflow)
    assert curve.editor.read(curve.node, "curve") == text
    curve.find()
    curve.moved(curve.points()[1], (0.3, 0.7))


def test_written_by_hand(curve):
    line = curve.page.locator(".res-picture-line").first
    for text, message in (("[[0, 0], [0.5, 0.2], [0.4, 1], [1, 1]]", "point 3"), ("[[0, 0], [0.5,", "must be a JSON list")):
        curve.editor.write(curve.node, "curve", text)
        curve.editor.until(lambda message=message: message in line.inner_text(), "the error")
    assert curve.handles().count() == 0
    curve.editor.write(curve.node, "curve", "[[0, 0], [0.2, 0.1], [0.5, 0.2], [1, 1]]")
    curve.find()
    assert curve.handles().count() == 4
    assert all("/comfyui_res/grid" in error for error in curve.editor.errors)
    curve.editor.errors.clear()


def test_more_points_than_there_may_be_make_no_handles(curve):
    """The points of a stranger's workflow would otherwise block the page."""
    line = curve.page.locator(".res-picture-line").first
    for points in (65, 100_000):
        text = json.dumps([[n / (points - 1), n / (points - 1)] for n in range(points)])
        curve.editor.write(curve.node, "curve", text)
        curve.editor.until(lambda: "a list of 2 to 64 points" in line.inner_text() or "at most" in line.inner_text(), "the error")
        assert curve.handles().count() == 0
        curve.editor.write(curve.node, "curve", START)
        curve.find()
    curve.editor.errors.clear()


def test_not_where_another_node_gives_the_curve(curve):
    text = curve.editor.add("PrimitiveString", 40, 400, value="[[0, 0], [0.5, 0.9], [1, 1]]")
    curve.editor.wire(text, 0, curve.node, "curve")
    curve.editor.until(lambda: curve.handles().count() == 0, "no handles")
