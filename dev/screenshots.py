"""Pictures of the editor with an example after a run, as docs/ shows them."""

import io
from typing import NamedTuple

from PIL import Image

from .editor_page import Editor, chromium
from .server import Client
from .thumbnails import workflow

_RENDERER = "nodes2"
_LEFT, _TOP, _BELOW, _RIGHT = 100, 160, 340, 320  # pixels that the editor's own bars and maps take
_MARGIN = 24
_BOX = """(ids) => app.graph.nodes.filter((node) => ids.includes(+node.id)).map((node) =>
    [node.pos[0], node.pos[1] - LiteGraph.NODE_TITLE_HEIGHT, node.pos[0] + node.size[0], node.pos[1] + node.size[1]])"""
_VIEW = """([x, y]) => { app.canvas.ds.scale = 1; app.canvas.ds.offset = [x, y]; app.canvas.setDirty(true, true); }"""


class Shot(NamedTuple):
    """What is shown.

    Attributes:
        example: the template's name.
        places: (x, y, width, height) of the nodes that are kept, by id; None keeps all as they are.
        hidden: ids of kept nodes that are not in the picture.
    """

    example: str
    places: dict[int, tuple[int, int, int, int]] | None = None
    hidden: tuple[int, ...] = ()

    def workflow(self) -> dict:
        """The example, or the part of it that is kept."""
        graph = workflow(self.example)
        if self.places is None:
            return graph
        graph["nodes"] = [node for node in graph["nodes"] if node["id"] in self.places]
        graph["links"] = [link for link in graph["links"] if {link[1], link[3]} <= self.places.keys()]
        kept = {link[0] for link in graph["links"]}
        for node in graph["nodes"]:
            x, y, width, height = self.places[node["id"]]
            node["pos"], node["size"] = [x, y], [width, height]
            node.pop("title", None)  # the node's own name is shown
            for output in node["outputs"]:
                output["links"] = [link for link in output["links"] or [] if link in kept]
            for slot in node["inputs"]:
                slot["link"] = slot["link"] if slot.get("link") in kept else None
        return graph


_SCHEDULES = {1: (-400, 0, 225, 106), 5: (0, 0, 290, 513), 6: (340, 0, 290, 675), 8: (680, 0, 330, 500)}
SHOTS = {
    "workflow": Shot("05_RES-3S_by_nodes"),
    "lab": Shot("02_which_sampler_is_best"),
    "schedules": Shot("03_compare_schedules", _SCHEDULES, (1,)),
}


def shots(client: Client, names: list[str]):
    """(name, picture) of every named shot, from one page of the editor."""
    with chromium() as browser:
        editor = Editor(browser, client, _RENDERER)
        for name in names:
            yield name, _shoot(editor, SHOTS[name])


def _shoot(editor: Editor, shot: Shot) -> Image.Image:
    graph = shot.workflow()
    editor.start()
    editor.open(graph)
    editor.run()
    editor.page.wait_for_timeout(3000)  # the results are loaded and drawn
    boxes = editor.js(_BOX, [node["id"] for node in graph["nodes"] if node["id"] not in shot.hidden])
    left, top = (min(box[axis] for box in boxes) for axis in (0, 1))
    width, height = (round(max(box[axis + 2] for box in boxes) - start) for axis, start in ((0, left), (1, top)))
    editor.page.set_viewport_size({"width": _LEFT + width + _RIGHT, "height": _TOP + height + _BELOW})
    editor.js(_VIEW, [_LEFT - left, _TOP - top])
    editor.page.wait_for_timeout(3000)
    area = {"x": _LEFT - _MARGIN, "y": _TOP - _MARGIN, "width": width + 2 * _MARGIN, "height": height + 2 * _MARGIN}
    return Image.open(io.BytesIO(editor.page.screenshot(clip=area)))
