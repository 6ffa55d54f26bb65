"""Whether the process lives, and whether it can serve. Neither needs a key, neither names a
host.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from podkit_gateway.runtime import Runtime
from podkit_gateway.store import is_current, is_reachable
from podkit_gateway.web import runtime_of

router = APIRouter()


@router.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """200 if the database answers and is migrated, and every model has a backend or may be
    woken.
    """
    problems = await find_problems(runtime_of(request))
    status = 503 if problems else 200
    return JSONResponse({"ready": not problems, "problems": problems}, status)


async def find_problems(runtime: Runtime) -> list[str]:
    """What keeps the gateway from serving, one sentence each."""
    problems = []
    if not await is_reachable(runtime.engine):
        problems.append("the database does not answer")
    elif not await is_current(runtime.engine):
        problems.append("the database is not migrated: podkit-gateway migrate")
    if runtime.backends.problem:
        problems.append("gateway.toml is wrong; podkit-gateway doctor says where")
    now = runtime.backends.now()
    for model in runtime.backends.config.models.values():
        members = runtime.backends.members(model)
        if not any(backend.usable(now) or backend.state == "asleep" for backend in members):
            problems.append(f"no backend serves {model.name}")
    return problems
