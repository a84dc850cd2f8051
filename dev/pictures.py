"""Makes every picture of README, the docs, the help pages and the templates; those of results are made by `benchmarks`.

.host/venv/bin/python -m dev.pictures [PART ...]   # help, art, readme, cards, thumbnails, editor

The parts thumbnails and editor run examples on a server, and editor needs a browser. What they show is recorded in
dev/pictures.json, by which a test tells whether a picture is stale.
"""

import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from testbed.paths import ROOT

from . import art, few_calls, help_pictures, thumbnails
from .screenshots import SHOTS, shots
from .server import server
from .setup import SetupError, ensure_host, ensure_tools
from .workflow import to_prompt

RECORD = ROOT / "dev" / "pictures.json"
HELP, DOCS, EXAMPLES = ROOT / "web" / "docs" / "images", ROOT / "docs", thumbnails.EXAMPLES
# part -> file without ending -> what draws it in this process
DRAWN = {
    "help": {HELP / name: draw for name, draw in help_pictures.PICTURES.items()},
    "art": {DOCS / name: draw for name, draw in art.PICTURES.items()},
    "readme": {DOCS / "few_calls": few_calls.draw},
}
PARTS = (*DRAWN, "cards", "thumbnails", "editor")
_WIDEST = 900


def as_picture(drawn) -> Image.Image:
    """A Figure, or (height, width, 3) in [0, 1], in at most 256 colours."""
    if isinstance(drawn, Figure):
        file = io.BytesIO()
        drawn.savefig(file)
        image = Image.open(file).convert("RGB")
    else:
        image = Image.fromarray((255.0 * np.asarray(drawn)).round().astype(np.uint8))
    if image.width > _WIDEST and not isinstance(drawn, Figure):
        image.thumbnail((640, 800), Image.Resampling.LANCZOS)
    return image.quantize(256, method=Image.Quantize.MEDIANCUT)


def digests() -> dict[str, str]:
    """A digest of what every picture of a server shows: a thumbnail's prompt; in the editor also the names and scripts."""
    shown = {EXAMPLES / f"{name}.jpg": to_prompt(thumbnails.workflow(name)) for name in thumbnails.PICTURES}
    nodes = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text("utf-8"))
    scripts = [_code(path) for path in sorted((ROOT / "web").glob("*.*s"))]
    for name, shot in SHOTS.items():
        graph = shot.workflow()
        names = [_names(nodes[node["type"]]) for node in graph["nodes"] if node["type"] in nodes]
        shown[DOCS / f"{name}.png"] = [graph, shot, names, scripts]
    return {path.relative_to(ROOT).as_posix(): _digest(what) for path, what in shown.items()}


def _code(script: Path) -> list[str]:
    """The lines of a script without comments, which change no picture."""
    return [code for line in script.read_text("utf-8").splitlines() if (code := re.sub(r"(^|\s)//.*", "", line).strip())]


def _names(node: dict) -> list:
    return [node["display_name"], *(item["name"] for kind in ("inputs", "outputs") for item in node[kind].values())]


def _digest(what) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _of_server(parts: set[str]) -> Iterator[tuple[Path, Image.Image]]:
    host = ensure_host()
    with server(host) as client:
        if "editor" in parts:  # first, because the lab keeps what it has measured
            sys.path.append(str(ensure_tools(host, ROOT / "tests" / "requirements.txt")))
            for name, image in shots(client, list(SHOTS)):
                yield DOCS / f"{name}.png", image.convert("RGB").quantize(256)
        for name in thumbnails.PICTURES if "thumbnails" in parts else ():
            yield EXAMPLES / f"{name}.jpg", thumbnails.pictures(client, name)


def _save(path: Path, image: Image.Image) -> None:
    image.save(path, quality=88, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} kB", flush=True)


def main() -> int:
    """Write the pictures of all parts, or of those named."""
    parts = set(sys.argv[1:] or PARTS)
    if unknown := parts.difference(PARTS):
        print(f"pictures: there is no part {', '.join(sorted(unknown))}; take some of {', '.join(PARTS)}.", file=sys.stderr)
        return 1
    for part in parts & DRAWN.keys():
        for path, draw in DRAWN[part].items():
            _save(path.with_suffix(".png"), as_picture(draw()))
    for name in thumbnails.CARDS if "cards" in parts else ():
        _save(EXAMPLES / f"{name}.jpg", thumbnails.card(name))
    try:
        record, now = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}, digests()
        for path, image in _of_server(parts) if parts & {"thumbnails", "editor"} else ():
            _save(path, image)
            name = path.relative_to(ROOT).as_posix()
            record[name] = now[name]
            RECORD.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", "utf-8")
    except SetupError as error:
        print(f"pictures: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
