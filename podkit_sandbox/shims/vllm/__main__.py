"""The program: `vllm serve MODEL ...`. PODKIT_SANDBOX_VLLM_ERROR makes it fail with a text of the
real one.
"""

import importlib
import os
import sys

import uvicorn

from podkit_sandbox.shims.vllm.flags import parse
from podkit_sandbox.shims.vllm.memory import memory_lines
from podkit_sandbox.shims.vllm.server import Server

LOOPBACK = "127.0.0.1"
ERRORS = {
    "oom": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    "port": "OSError: [Errno 98] Address already in use",
}


def main() -> None:
    """Serves until it is told to stop."""
    options = parse(sys.argv[1:])
    failure = ERRORS.get(os.environ.get("PODKIT_SANDBOX_VLLM_ERROR", ""))
    if failure:
        sys.exit(failure)
    print(memory_lines(options.utilization, options.max_model_len), flush=True)
    app = Server(options).app()
    for name in options.middleware:
        module, _, attribute = name.rpartition(".")
        app.add_middleware(getattr(importlib.import_module(module), attribute))
    if options.host != LOOPBACK:
        print(f"the sandbox listens on {LOOPBACK}, not on {options.host}", file=sys.stderr)
    uvicorn.run(
        app,
        host=LOOPBACK,
        port=options.port,
        access_log=False,
        loop="asyncio",  # not whichever else is installed
        http="h11",
    )


main()
