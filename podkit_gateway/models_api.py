"""GET /v1/models: what this caller may use. The state of backends is told to admins alone."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from podkit_gateway.backends import Backends
from podkit_gateway.config import ModelConfig
from podkit_gateway.domain import Caller
from podkit_gateway.openai import no_such_model
from podkit_gateway.web import find_caller, runtime_of

router = APIRouter()


@router.get("/v1/models")
async def list_models(request: Request) -> dict[str, Any]:
    runtime = runtime_of(request)
    caller = await find_caller(request)
    data = []
    for model in runtime.backends.config.models.values():
        if caller.may_use(model.name):
            data.append(show_model(runtime.backends, model, caller))
    return {"object": "list", "data": data}


@router.get("/v1/models/{name}")
async def show_one(request: Request, name: str) -> dict[str, Any]:
    runtime = runtime_of(request)
    caller = await find_caller(request)
    model = runtime.backends.config.models.get(name)
    if model is None or not caller.may_use(name):
        raise no_such_model(name)
    return show_model(runtime.backends, model, caller)


def show_model(backends: Backends, model: ModelConfig, caller: Caller) -> dict[str, Any]:
    """A model in OpenAI's form; what OpenAI has no name for is under `podkit`."""
    members = backends.members(model)
    price = model.price
    extra: dict[str, Any] = {
        "kind": members[0].config.kind,
        "context": model.context,
        "price": {
            "prompt_per_million": price.prompt,
            "completion_per_million": price.completion,
            "per_page": price.page,
            "per_second": price.second,
        },
    }
    if model.languages:
        extra["languages"] = sorted(model.languages)
    if "admin" in caller.scopes:
        states = {}
        for backend in members:
            states[backend.config.name] = backend.state
        extra["backends"] = states
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "podkit",
        "podkit": extra,
    }
