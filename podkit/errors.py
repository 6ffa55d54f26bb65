"""Every way podkit can fail, with the exit code and the next step of each.

One place turns these, and nothing else, into one line on stderr and an exit code. A message never
holds a secret: the API client puts only the provider's own `title`, `detail` and `errors` into it.

    PodkitError                 1
    ├── UsageError              2    flags, environment, .env
    ├── ApiError                1    the provider said no, or could not be understood
    │   ├── BadRequest               400: a broken rule, or no capacity
    │   ├── Unauthorized             401
    │   ├── PaymentRequired          402
    │   ├── Forbidden                403 from the API
    │   ├── NotFound                 404
    │   ├── Conflict                 409: an action not allowed now
    │   ├── Invalid                  413, 422
    │   ├── RateLimited              429
    │   ├── ServerFault              5xx
    │   ├── EdgeRefused              an HTML page from the network in front of the API
    │   ├── BadAnswer                not JSON, or not of the documented shape
    │   └── Unreachable              no connection, a time-out, a reset
    ├── NoCapacity              75   every candidate was refused for want of stock
    ├── NotPlaced               1    every candidate was refused, not only for want of stock
    ├── PodFailed               1    the pod died, looped, or never became ready
    │   └── BadHost                  its host never started the container
    ├── Missing                 1    no pod is meant by that id or name
    │   └── SeveralPods              more than one pod is meant
    ├── PodUnclear              1    a pod may exist that could not be looked up or ended
    ├── QuotaExceeded           1    the max workers of all endpoints would be too many
    ├── SeveralEndpoints        1    more than one endpoint has that name
    ├── EndpointUnclear         1    an endpoint may exist, or be changed, that could not be read
    ├── RolloutFailed           1    a release's workers or its first job failed
    ├── S3Failed                1    an S3 server refused, or holds something else
    └── Interrupted             128 + signal number
"""

from __future__ import annotations

from typing import Any

KEYS_URL = "https://console.runpod.io/user/settings"
AGAIN = "deploy again, which takes another host"


class PodkitError(Exception):
    """A failure that podkit understands: `message` says what and why, `hint` the next command.

    `code` is its name for programs. `fields` is what its command has to show for programs all the
    same.
    """

    exit_code = 1
    code = "failed"
    hint = ""

    def __init__(self, message: str, hint: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.hint
        self.fields = fields


class UsageError(PodkitError):
    """A flag, the environment or `.env` holds what cannot be."""

    exit_code = 2
    code = "usage"
    hint = "./podkit.sh --help lists the options; .env.example lists the settings"


class ApiError(PodkitError):
    """An answer of the API that is not a success, or no answer.

    `status` is the HTTP status, None without an answer. `detail` is the provider's own words.
    `unclear` is true when a request that changes something may have been carried out all the same.
    `retry_after` is the wait in seconds that the answer asks for.
    """

    code = "api"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        detail: str = "",
        unclear: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
        self.unclear = unclear
        self.retry_after = retry_after


class BadRequest(ApiError):
    """400: a broken rule, or no capacity; only `detail` tells which."""

    code = "bad-request"
    hint = "--dry-run prints the request"


class Unauthorized(ApiError):
    """401: the key is missing or wrong."""

    code = "unauthorized"
    hint = f"put a valid key into RUNPOD_API_KEY in .env: {KEYS_URL}"


class PaymentRequired(ApiError):
    """402: the balance is too low."""

    code = "payment-required"
    hint = "an hour of credit is needed: https://console.runpod.io/user/billing"


class Forbidden(ApiError):
    """403 from the API itself: the key lacks a right, or the account has no access to a pool."""

    code = "forbidden"
    hint = f"give the key read and write access to pods and volumes: {KEYS_URL}"


class NotFound(ApiError):
    """404: the API does not know the thing, or not yet."""

    code = "not-found"
    hint = "./list_pods.sh shows what there is"


class Conflict(ApiError):
    """409: an action that is not allowed now."""

    code = "conflict"
    hint = "./list_pods.sh shows its status; try again in a minute"


class Invalid(ApiError):
    """413 or 422: the request is too large, or violates the contract."""

    code = "invalid"
    hint = "the provider names the fields above; --dry-run prints the whole request"


class RateLimited(ApiError):
    """429: too many requests; `retry_after` may say how long to wait."""

    code = "rate-limited"
    hint = "try again in a minute"


class ServerFault(ApiError):
    """5xx from the API."""

    code = "server-fault"
    hint = "the provider has trouble (https://uptime.runpod.io); try again in a few minutes"


class EdgeRefused(ApiError):
    """An HTML page: it is from the network in front of the API, not from the API."""

    code = "edge"
    hint = (
        "this came from the network before the API: try without VPN or proxy, or in a few minutes"
    )


class BadAnswer(ApiError):
    """An answer that is not JSON, or not of the documented shape."""

    code = "bad-answer"
    hint = "check RUNPOD_API_URL; ./podkit.sh doctor compares the API with what podkit expects"


class Unreachable(ApiError):
    """No connection, no answer in time, or a connection that broke."""

    code = "unreachable"
    hint = "check the network connection, then try again"


class NoCapacity(PodkitError):
    """Every candidate was refused for want of stock: waiting may help."""

    exit_code = 75
    code = "no-capacity"


class NotPlaced(PodkitError):
    """Every candidate was refused, and not only for want of stock."""

    code = "not-placed"


class PodFailed(PodkitError):
    """The pod died, loops, or never became ready."""

    code = "pod-failed"
    hint = AGAIN


class BadHost(PodFailed):
    """The pod's host never started its container."""

    code = "bad-host"


class Missing(PodkitError):
    """No pod is meant by an id or a name."""

    code = "not-found"


class SeveralPods(Missing):
    """More than one pod is meant by an id or a name."""

    code = "several-pods"


class PodUnclear(PodkitError):
    """A pod may exist, and be billed, that could not be looked up or ended."""

    code = "pod-unclear"


class QuotaExceeded(PodkitError):
    """The account's quota refuses the max workers that an endpoint asks for."""

    code = "quota"


class SeveralEndpoints(PodkitError):
    """More than one serverless endpoint has the name that is meant."""

    code = "several-endpoints"


class EndpointUnclear(PodkitError):
    """A serverless endpoint may exist, or be changed or gone, and that could not be found out."""

    code = "endpoint-unclear"


class RolloutFailed(PodkitError):
    """The workers of a release crash or never come, or its first job failed."""

    code = "rollout-failed"


class S3Failed(PodkitError):
    """An S3 server refused, could not be reached, or holds something else than was sent."""

    code = "storage"


class Interrupted(PodkitError):
    """A signal ended the command: 129, 130 or 143 for SIGHUP, SIGINT and SIGTERM."""

    code = "interrupted"

    def __init__(self, signal_number: int) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + signal_number
