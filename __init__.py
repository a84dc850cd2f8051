"""ComfyUI-RES: exponential-integrator samplers and logSNR schedules for ComfyUI."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """The host's entry point for a V3 node pack."""
    from .nodes import RESExtension  # noqa: PLC0415 (importing the pack must not need the host)

    return RESExtension()
