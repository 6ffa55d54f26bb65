"""What a deploy finds: the config's wish, the account's endpoints, and the difference. It reads
only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from podkit.runpod.client import RunpodClient
from podkit.runpod.endpoint_types import Endpoint
from podkit.serverless.config import Service
from podkit.serverless.estimate import Estimate, estimate
from podkit.serverless.finding import find_endpoint
from podkit.serverless.history import Applied, History
from podkit.serverless.offer import check_offer, read_offer, stock_warnings
from podkit.serverless.plan import Plan, desired_settings, normal_form, plan_change
from podkit.serverless.quota import quota_warning, sum_of_max

IDLE_DAYS = "the platform lowers it to 2 after 3 days without a request, and to 0 after 7"


@dataclass(frozen=True)
class Survey:
    """The service, its endpoint (None: a deploy makes it), and what a deploy would change.

    `drift` has a sentence for each field that somebody else changed since the last deploy from this
    checkout. `quota_sum` is the max workers of all endpoints after the deploy.
    """

    service: Service
    desired: Mapping[str, Any] = field(repr=False)
    listed: tuple[Endpoint, ...]
    endpoint: Endpoint | None
    plan: Plan
    drift: tuple[str, ...]
    estimate: Estimate | None
    quota_sum: int
    warnings: tuple[str, ...]

    @property
    def action(self) -> str:
        """What a deploy would do: create, change, replace or nothing."""
        if self.endpoint is None:
            return "create"
        if self.plan.needs_new_endpoint:
            return "replace"
        return "change" if self.plan.changes else "nothing"


def survey(
    client: RunpodClient,
    service: Service,
    environment: Mapping[str, str],
    history: History,
    endpoint_id: str = "",
    *,
    adopt: bool = False,
) -> Survey:
    """What a deploy of the service finds. Raises what it would refuse: UsageError for what nobody
    offers, a variable that is missing or an endpoint that is not podkit's, SeveralEndpoints,
    ApiError."""
    offer = read_offer(client, service)
    check_offer(service, offer)
    desired = desired_settings(service, environment, offer.gpus)
    listed = tuple(client.list_endpoints())
    endpoint = find_endpoint(listed, service, endpoint_id, adopt=adopt)
    plan = Plan((), {})
    drift: list[str] = []
    if endpoint:
        plan = plan_change(desired, endpoint.settings)
        drift = drift_of(plan, desired, history.read(endpoint.id))
    id_now = ""
    if endpoint and not plan.needs_new_endpoint:
        id_now = endpoint.id
    warnings = [*service.warnings, *stock_warnings(service, offer)]
    if warning := quota_warning(listed, id_now, service.max_workers):
        warnings.append(warning)
    return Survey(
        service=service,
        desired=desired,
        listed=listed,
        endpoint=endpoint,
        plan=plan,
        drift=tuple(drift),
        estimate=estimate(service, offer),
        quota_sum=sum_of_max(listed, id_now, service.max_workers),
        warnings=tuple(warnings),
    )


def drift_of(plan: Plan, desired: Mapping[str, Any], applied: list[Applied]) -> list[str]:
    """What differs although the config is as it was applied last: others changed it, not the
    config. Values of `env` are not told apart, as those that were filled in are not kept."""
    found = []
    before: dict[str, Any] = {}
    if applied:
        before = normal_form(applied[-1].settings)
    wanted = normal_form(desired)
    for change in plan.changes:
        name = change.field
        if name == "workers.max" and change.old in (0, 2) and change.new > change.old:
            paused = "; so does `pause`" if change.old == 0 else ""
            found.append(f"workers.max is {change.old}: {IDLE_DAYS}{paused}")
        elif not name.startswith("env.") and name in before and before[name] == wanted.get(name):
            found.append(f"{name} was changed by somebody else since the last deploy from here")
    return found
