"""The only door to the provider's REST API v2: its parts under one name."""

from __future__ import annotations

from podkit.runpod.billing import Billing
from podkit.runpod.catalog import Catalog
from podkit.runpod.endpoints import Endpoints
from podkit.runpod.logs import Logs
from podkit.runpod.pods import Pods
from podkit.runpod.volumes import Volumes


class RunpodClient(Pods, Logs, Volumes, Catalog, Billing, Endpoints):
    """The calls of REST v2 that podkit uses. All raise ApiError's subclasses."""
