"""Progress of the lab: the node's bar, a text with the remaining time, and previews."""

import re
import time
from collections.abc import Callable
from typing import NamedTuple

import comfy.utils
import latent_preview

import nodes

from .host import send_text

_EVERY = 0.5  # seconds between texts
_LETTERS = 50  # longest title of a node
_NAMING = {"KSamplerSelect": "sampler_name", "BasicScheduler": "scheduler"}  # nodes whose widget names what they give


def node_id(node):
    """The id of the running node; None outside of a prompt."""
    return getattr(getattr(node, "hidden", None), "unique_id", None)


def workflow_id(node) -> str | None:
    """The id of the node's workflow, as the editor saves it; None if there is none."""
    return _workflow(node).get("id")


def _workflow(node) -> dict:
    """The node's workflow, as the editor saves it; empty if there is none."""
    info = getattr(getattr(node, "hidden", None), "extra_pnginfo", None)
    workflow = info.get("workflow") if isinstance(info, dict) else None
    return workflow if isinstance(workflow, dict) else {}


class Title(NamedTuple):
    """What a connected node is called."""

    text: str
    own: bool  # whether the user has written it
    chosen: str = ""  # the sampler or scheduler that the node's widget names


def titles_of_inputs(node) -> dict[str, Title]:
    """The titles of the nodes that are connected to the running node, by input; empty outside of a prompt."""
    prompt = getattr(getattr(node, "hidden", None), "prompt", None) or {}
    wires = {name: link[0] for name, link in prompt.get(node_id(node), {}).get("inputs", {}).items() if isinstance(link, list)}
    titles = {name: _title(prompt.get(source, {}), _has_usual_title(_workflow(node), source)) for name, source in wires.items()}
    return {name: title for name, title in titles.items() if title.text}


def _title(node: dict, usual: bool) -> Title:
    """The title that the editor shows, in one short line; a prompt without titles has the class's name instead."""
    kind = node.get("class_type", "")
    name = nodes.NODE_DISPLAY_NAME_MAPPINGS.get(kind) or kind
    title = node.get("_meta", {}).get("title") or name
    chosen = node.get("inputs", {}).get(_NAMING.get(kind))
    text = " ".join(re.sub(r"[^\w .,:;()+-]", " ", title).split()).strip("+- ")[:_LETTERS].strip()
    return Title(text, not usual and title not in (name, kind), chosen if isinstance(chosen, str) else "")


def _has_usual_title(workflow: dict, source: str) -> bool:
    """Whether a node has the title of its class in the editor's language, because the editor saves only other titles.

    Args:
        workflow: as the editor saves it.
        source: the node's id; "10:3" is node 3 in the subgraph that node 10 shows.
    """
    subgraphs = {graph.get("id"): graph for graph in workflow.get("definitions", {}).get("subgraphs", [])}
    graph, found = workflow, None
    for part in source.split(":"):
        found = next((node for node in graph.get("nodes", []) if str(node.get("id")) == part), None)
        graph = subgraphs.get((found or {}).get("type"), {})
    return found is not None and "title" not in found


class CallProgress:
    """Counts model calls.

    Args:
        node: id of the running node.
        expected: function that gives the number of expected calls; more may be made.
        guider: the guider whose model gives previews.
        what: text before the number of calls.
    """

    def __init__(self, node, expected: Callable[[], int], guider, what: str = ""):
        self._node, self._expected = node, expected
        self.calls = 0  # so far
        self._bar = comfy.utils.ProgressBar(max(expected(), 1))
        self._started = self._shown_at = time.monotonic()
        patcher = guider.model_patcher
        self._previewer = latent_preview.get_previewer(patcher.load_device, patcher.model.latent_format)
        self._what = what

    def call(self, x, sigma, denoised, seconds) -> None:
        """Count one more call, as `Subject.run` reports it."""
        self.calls += 1
        if time.monotonic() - self._shown_at >= _EVERY:
            self._show()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def show(self, what: str, latent) -> None:
        """Show a finished result: its name, and its first item, (channels, ...), as the model sees it."""
        self._what = what
        self._show(self._previewer and self._previewer.decode_latent_to_preview_image("JPEG", latent[None]))

    def finish(self) -> None:
        """Show that all calls were made."""
        self._bar.update_absolute(1, 1)
        self._send(f"{self.calls} model calls")

    def _show(self, image=None) -> None:
        self._shown_at = time.monotonic()
        total = max(self._expected(), self.calls + 1)
        self._bar.update_absolute(self.calls, total, image)
        left = self.seconds / max(self.calls, 1) * (total - self.calls)
        self._send(f"{self.calls} of {total} model calls, {duration(left)} left")

    def _send(self, text: str) -> None:
        send_text(f"{self._what}; {text}" if self._what else text, self._node)


def duration(seconds: float) -> str:
    """Seconds as text."""
    return f"{seconds:.0f} s" if seconds < 100.0 else f"{seconds / 60.0:.0f} min"
