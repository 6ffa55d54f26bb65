"""Jobs of a RunPod serverless endpoint: submitted once, waited for, and never lost without a word.

    jobs = Jobs("4m7x2k9q", key)
    output = jobs.run({"text": "Bonjour", "src_lang": "fra_Latn", "tgt_lang": "mos_Latn"})

A library of its own: of podkit it needs only the errors. AsyncJobs has the same calls to be
awaited; both drive the same steps, so they give the same results and the same errors. A job that
may have been submitted is never submitted again unless that is asked for, and no input or output is
ever in a message or a repr.

    JobProblem             what became of one job; `job_id` is its id
    ├── JobFailed          the handler raised an error, or returned one
    ├── JobTimedOut        it ran longer than it may
    ├── JobCancelled
    ├── NoOutput           COMPLETED, but the handler returned nothing, or too much
    ├── JobGone            the endpoint does not know it (any more)
    └── WaitTimeout        it is still on its way
    SubmitUnclear          it may have been submitted; its id is not known

Beside these, UsageError for what must not be sent, and podkit.errors.ApiError's subclasses.
Sources: the provider's job API documentation and its worker SDK 1.12 (November 2026).
"""

from __future__ import annotations

from podkit.jobs.client import JOBS_URL, AsyncJobs, Jobs
from podkit.jobs.states import (
    JobCancelled,
    JobFailed,
    JobGone,
    JobProblem,
    JobState,
    JobTimedOut,
    NoOutput,
    SubmitUnclear,
    WaitTimeout,
)

__all__ = [
    "JOBS_URL",
    "AsyncJobs",
    "JobCancelled",
    "JobFailed",
    "JobGone",
    "JobProblem",
    "JobState",
    "JobTimedOut",
    "Jobs",
    "NoOutput",
    "SubmitUnclear",
    "WaitTimeout",
]
