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

from collections.abc import Sequence

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

    `status` is the HTTP status or None without an answer; `detail` and `errors` are the provider's own words;
    `ambiguous` is true when a request that changes something may have been carried out all the same; `retry_after`
    is the wait in seconds that a 429 asks for.
    """

    code = "api"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        detail: str = "",
        errors: Sequence[str] = (),
        ambiguous: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.ambiguous = ambiguous
        self.retry_after = retry_after


class BadRequest(ApiError):
    code, hint = "bad-request", "--dry-run prints the request"


class Unauthorized(ApiError):
    code, hint = "unauthorized", f"put a valid key into RUNPOD_API_KEY in .env: {KEYS_URL}"


class PaymentRequired(ApiError):
    code, hint = "payment-required", "an hour of credit is needed: https://console.runpod.io/user/billing"


class Forbidden(ApiError):
    code, hint = "forbidden", f"give the key read and write access to pods and volumes: {KEYS_URL}"


class NotFound(ApiError):
    code, hint = "not-found", "./list_pods.sh shows what there is"


class Conflict(ApiError):
    code, hint = "conflict", "./list_pods.sh shows its status; try again in a minute"


class Invalid(ApiError):
    code, hint = "invalid", "the provider names the fields above; --dry-run prints the whole request"


class RateLimited(ApiError):
    code, hint = "rate-limited", "try again in a minute"


class ServerFault(ApiError):
    code, hint = "server-fault", "the provider has trouble (https://uptime.runpod.io); try again in a few minutes"


class EdgeRefused(ApiError):
    code, hint = "edge", "this came from the network before the API: try without VPN or proxy, or in a few minutes"


class BadAnswer(ApiError):
    code, hint = "bad-answer", "check RUNPOD_API_URL; ./podkit.sh doctor compares the API with what podkit expects"


class Unreachable(ApiError):
    code, hint = "unreachable", "check the network connection, then try again"


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
