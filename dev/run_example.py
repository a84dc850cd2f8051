"""Starts ComfyUI, queues an example workflow, shows progress and keeps the picture. Runs in ComfyUI's Python."""

import argparse
import asyncio
import json
import shutil
import sys
import uuid
from pathlib import Path

from .server import Client, PromptError, server
from .setup import HOST, ROOT, Host, SetupError, exit_on_signals
from .workflow import to_prompt

EXAMPLE = ROOT / "example_workflows" / "01_start_here-exp_res_in_KSampler.json"
OUTPUT = ROOT / "output"
_NEXT = "Next: ./demo --ui, and the template 02_which_sampler_is_best, which compares this pack with ComfyUI's samplers"


def main() -> int:
    """0 with the picture's path on stdout, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tree", type=Path, required=True)
    parser.add_argument("--ours", action="store_true")
    parser.add_argument("--ui", action="store_true")
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    exit_on_signals()
    host = Host(options.tree, Path(sys.executable), options.ours)
    try:
        print("Starting ComfyUI ...", file=sys.stderr, flush=True)
        with server(host, HOST / "ui" if options.ui else None, options.port) as client:
            print(asyncio.run(sample(client)), flush=True)
            if not options.ui:
                print(_NEXT, file=sys.stderr)
            else:
                [pack] = client.get("/workflow_templates")
                print(f"ComfyUI is running (Ctrl-C ends it): {client.url}/?template={EXAMPLE.stem}&source={pack}", flush=True)
                client.process.wait()
    except KeyboardInterrupt:
        return 0 if options.ui else 130
    except (SetupError, PromptError, TimeoutError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


async def sample(client: Client) -> Path:
    """Queue the example, report its progress, and copy its picture to output/."""
    import aiohttp  # slow to import; here, where main() can answer Ctrl-C

    prompt = to_prompt(json.loads(EXAMPLE.read_text("utf-8")))
    client_id = str(uuid.uuid4())
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{client.url}/ws?clientId={client_id}") as socket:
        prompt_id = client.queue(prompt, client_id)
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue  # previews
            event = json.loads(message.data)
            data = event["data"]
            if event["type"] == "progress":
                print(f"\rSampling: step {data['value']:.2f} of {data['max']} ", end="", file=sys.stderr, flush=True)
            if data.get("prompt_id") == prompt_id and event["type"] in ("execution_success", "execution_error"):
                break
    print(file=sys.stderr)
    [image] = [image for node in client.wait(prompt_id).values() for image in node.get("images", [])]
    OUTPUT.mkdir(exist_ok=True)
    picture = OUTPUT / f"{EXAMPLE.stem}.png"
    shutil.copy(client.base / image["type"] / image["subfolder"] / image["filename"], picture)
    return picture


if __name__ == "__main__":
    sys.exit(main())
