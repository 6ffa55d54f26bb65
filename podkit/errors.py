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

KEYS_URL = "https://console.runpod.io/user/settings"


class PodkitError(Exception):
    """A failure that podkit understands: `message` says what and why, `hint` the next command."""

    exit_code, code, hint = 1, "failed", ""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
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

    def __init__(
        self, message: str, *, status: int | None = None, detail: str = "", ambiguous: bool = False,
        retry_after: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.detail, self.ambiguous, self.retry_after = status, detail, ambiguous, retry_after


BY_STATUS: dict[int, type[ApiError]] = {}


def _kind(name: str, code: str, hint: str, *statuses: int) -> type[ApiError]:
    """A kind of ApiError that differs in nothing but its code and hint, noted as what `statuses` mean."""
    kind = type(name, (ApiError,), {"code": code, "hint": hint})
    BY_STATUS.update(dict.fromkeys(statuses, kind))
    return kind


CREDIT_HINT = "an hour of credit is needed: https://console.runpod.io/user/billing"
INVALID_HINT = "the provider names the fields above; --dry-run prints the whole request"
TROUBLE_HINT = "the provider has trouble (https://uptime.runpod.io); try again in a few minutes"
EDGE_HINT = "this came from the network before the API: try without VPN or proxy, or in a few minutes"
ANSWER_HINT = "check RUNPOD_API_URL; ./podkit.sh doctor compares the API with what podkit expects"

BadRequest = _kind("BadRequest", "bad-request", "--dry-run prints the request", 400)
Unauthorized = _kind("Unauthorized", "unauthorized", f"put a valid key into RUNPOD_API_KEY in .env: {KEYS_URL}", 401)
PaymentRequired = _kind("PaymentRequired", "payment-required", CREDIT_HINT, 402)
Forbidden = _kind("Forbidden", "forbidden", f"give the key read and write access to pods and volumes: {KEYS_URL}", 403)
NotFound = _kind("NotFound", "not-found", "./list_pods.sh shows what there is", 404)
Conflict = _kind("Conflict", "conflict", "./list_pods.sh shows its status; try again in a minute", 409)
Invalid = _kind("Invalid", "invalid", INVALID_HINT, 413, 422)
RateLimited = _kind("RateLimited", "rate-limited", "try again in a minute", 429)
ServerFault = _kind("ServerFault", "server-fault", TROUBLE_HINT)
EdgeRefused = _kind("EdgeRefused", "edge", EDGE_HINT)
BadAnswer = _kind("BadAnswer", "bad-answer", ANSWER_HINT)
Unreachable = _kind("Unreachable", "unreachable", "check the network connection, then try again")


class NoCapacity(PodkitError):
    exit_code, code = 75, "no-capacity"


class NotPlaced(PodkitError):
    code = "not-placed"


class PodFailed(PodkitError):
    code = "pod-failed"


class BadHost(PodFailed):
    code = "bad-host"


class Missing(PodkitError):
    code = "not-found"


class PodUncertain(PodkitError):
    code = "pod-uncertain"


class Interrupted(PodkitError):
    """A signal ended the command: 129, 130 or 143 for SIGHUP, SIGINT and SIGTERM."""

    code = "interrupted"

    def __init__(self, signal_number: int) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + signal_number
