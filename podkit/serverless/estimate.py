"""What an endpoint would cost if its jobs came one by one. Pure: assumptions, all of them said."""

from __future__ import annotations

from dataclasses import dataclass

from podkit.serverless.config import Service
from podkit.serverless.offer import Offer, wanted_gpus

COLD_START_SECONDS = 5.0
"""Of a container whose image is on its host. The first start on a host also pulls the image."""
WORK_SECONDS = 2.0
JOBS_PER_MONTH = 3000
HOURS_PER_MONTH = 730.0


@dataclass(frozen=True)
class Estimate:
    """USD for a job that finds no worker, and for a month of JOBS_PER_MONTH such jobs.

    `always` is what `min_workers` cost in a month without any job. `hourly` is the price of one
    worker: that of the most expensive hardware it may get.
    """

    hourly: float
    job_seconds: float
    per_job: float
    per_month: float
    always: float

    def __str__(self) -> str:
        text = (
            f"a worker costs at most ${self.hourly:.2f}/h; a job alone about "
            f"{self.job_seconds:.0f} s (start {COLD_START_SECONDS:.0f}, work {WORK_SECONDS:.0f}, "
            f"then idle) = ${self.per_job:.4f}; {JOBS_PER_MONTH:,} such jobs a month "
            f"${self.per_month:.2f}"
        )
        if self.always:
            text += f"; min_workers cost ${self.always:.2f} a month without any job"
        return text


def estimate(service: Service, offer: Offer) -> Estimate | None:
    """The estimate for a service; None if nothing that it may run on has a price."""
    hourly = _hourly(service, offer)
    if not hourly:
        return None
    job_seconds = COLD_START_SECONDS + WORK_SECONDS + (service.idle_timeout or 0)
    per_job = hourly / 3600 * job_seconds
    return Estimate(
        hourly=hourly,
        job_seconds=job_seconds,
        per_job=per_job,
        per_month=per_job * JOBS_PER_MONTH,
        always=service.min_workers * hourly * HOURS_PER_MONTH,
    )


def _hourly(service: Service, offer: Offer) -> float:
    """The highest price of one worker in USD per hour, 0 if there is none."""
    prices = {cpu.id: cpu.price or 0.0 for cpu in offer.cpus}
    found = [prices.get(cpu.flavor, 0.0) * cpu.vcpu for cpu in service.cpu]
    if not service.cpu:
        found += [(gpu.price or 0.0) * service.gpu_count for gpu in wanted_gpus(service, offer)]
    return max(found, default=0.0)
