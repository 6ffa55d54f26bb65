"""Every way podkit can fail, with the exit code and the next step of each.

cli.main turns these, and nothing else, into one line on stderr and an exit code. A message never holds a secret:
the API client puts only the provider's own `title`, `detail` and `errors` into it.

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
    ├── Missing                 1    no one pod is meant by that id or name
    ├── PodUncertain            1    a pod may exist that could not be looked up or ended
    └── Interrupted             128 + signal number
"""

from __future__ import annotations

from typing import Any, TypeVar

KEYS_URL = "https://console.runpod.io/user/settings"


class PodkitError(Exception):
    """A failure that podkit understands: `message` says what and why, `hint` the next command.

    `fields` is what its command has to show for programs all the same.
    """

    exit_code, code, hint = 1, "failed", ""

    def __init__(self, message: str, hint: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.message, self.fields = message, fields
        self.hint = hint or self.hint


class UsageError(PodkitError):
    exit_code, code = 2, "usage"
    hint = "./podkit.sh --help lists the options; .env.example lists the settings"


class ApiError(PodkitError):
    """An answer of the API that is not a success.

    `status` is the HTTP status or None without an answer; `detail` is the provider's own words; `ambiguous` is true
    when a request that changes something may have been carried out all the same; `retry_after` is the wait in seconds
    that the answer asks for.
    """

    code = "api"
    statuses: tuple[int, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        detail: str = "",
        ambiguous: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.detail, self.ambiguous, self.retry_after = (
            status,
            detail,
            ambiguous,
            retry_after,
        )


Kind = TypeVar("Kind", bound=PodkitError)


def _kind(
    base: type[Kind], name: str, code: str, hint: str = "", *statuses: int, exit_code: int = 1
) -> type[Kind]:
    """A kind of `base` that differs in nothing but what a person and a program are told, and when."""
    return type(
        name, (base,), {"code": code, "hint": hint, "exit_code": exit_code, "statuses": statuses}
    )


VALID_KEY = f"put a valid key into RUNPOD_API_KEY in .env: {KEYS_URL}"
RIGHTS = f"give the key read and write access to pods and volumes: {KEYS_URL}"
CREDIT = "an hour of credit is needed: https://console.runpod.io/user/billing"
FIELDS = "the provider names the fields above; --dry-run prints the whole request"
TROUBLE = "the provider has trouble (https://uptime.runpod.io); try again in a few minutes"
NETWORK = "this came from the network before the API: try without VPN or proxy, or in a few minutes"
AGAIN = "deploy again, which takes another host"
SHAPE = "check RUNPOD_API_URL; ./podkit.sh doctor compares the API with what podkit expects"

BadRequest = _kind(ApiError, "BadRequest", "bad-request", "--dry-run prints the request", 400)
Unauthorized = _kind(ApiError, "Unauthorized", "unauthorized", VALID_KEY, 401)
PaymentRequired = _kind(ApiError, "PaymentRequired", "payment-required", CREDIT, 402)
Forbidden = _kind(ApiError, "Forbidden", "forbidden", RIGHTS, 403)
NotFound = _kind(ApiError, "NotFound", "not-found", "./list_pods.sh shows what there is", 404)
Conflict = _kind(
    ApiError, "Conflict", "conflict", "./list_pods.sh shows its status; try again in a minute", 409
)
Invalid = _kind(ApiError, "Invalid", "invalid", FIELDS, 413, 422)
RateLimited = _kind(ApiError, "RateLimited", "rate-limited", "try again in a minute", 429)
ServerFault = _kind(ApiError, "ServerFault", "server-fault", TROUBLE)
EdgeRefused = _kind(ApiError, "EdgeRefused", "edge", NETWORK)
BadAnswer = _kind(ApiError, "BadAnswer", "bad-answer", SHAPE)
Unreachable = _kind(
    ApiError, "Unreachable", "unreachable", "check the network connection, then try again"
)
BY_STATUS = {status: kind for kind in ApiError.__subclasses__() for status in kind.statuses}

NoCapacity = _kind(PodkitError, "NoCapacity", "no-capacity", exit_code=75)
NotPlaced = _kind(PodkitError, "NotPlaced", "not-placed")
PodFailed = _kind(PodkitError, "PodFailed", "pod-failed", AGAIN)
BadHost = _kind(PodFailed, "BadHost", "bad-host", AGAIN)
Missing = _kind(PodkitError, "Missing", "not-found")
PodUncertain = _kind(PodkitError, "PodUncertain", "pod-uncertain")


class Interrupted(PodkitError):
    """A signal ended the command: 129, 130 or 143 for SIGHUP, SIGINT and SIGTERM."""

    code = "interrupted"

    def __init__(self, signal_number: int) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + signal_number
