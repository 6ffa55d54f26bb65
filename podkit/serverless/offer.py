"""What the provider offers serverless workers, and whether a service asks for what is on offer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from podkit.errors import UsageError
from podkit.runpod.client import RunpodClient
from podkit.runpod.endpoint_types import WorkerCpu, WorkerGpu
from podkit.serverless.config import Service
from podkit.serverless.pools import gpu_selection
from podkit.serverless.problems import nearest


@dataclass(frozen=True)
class Offer:
    """GPU types, CPU flavors and data centers; what a service does not ask for may be empty."""

    gpus: Sequence[WorkerGpu]
    cpus: Sequence[WorkerCpu] = ()
    data_centers: Sequence[str] = ()


def read_offer(client: RunpodClient, service: Service) -> Offer:
    """The provider's catalogue, as far as it concerns this service."""
    return Offer(
        gpus=[] if service.cpu else client.list_worker_gpus(),
        cpus=client.list_worker_cpus() if service.cpu else [],
        data_centers=client.list_data_centers() if service.data_centers else [],
    )


def check_offer(service: Service, offer: Offer) -> None:
    """Raises UsageError with everything that the service names and nobody offers."""
    problems = []
    flavors = {cpu.id: cpu for cpu in offer.cpus}
    for cpu in service.cpu:
        flavor = flavors.get(cpu.flavor)
        if flavor is None:
            near = nearest(cpu.flavor, flavors)
            problems.append(f"{service.block}.cpu: {cpu.flavor} is no CPU flavor{near}")
        elif cpu.vcpu > flavor.most_vcpu:
            most = f"{cpu.flavor} has at most {flavor.most_vcpu} vCPUs"
            problems.append(f"{service.block}.cpu: {most}")
    for center in service.data_centers:
        if center not in offer.data_centers:
            near = nearest(center, offer.data_centers)
            problems.append(f"{service.block}.data_centers: {center} is no data center{near}")
    try:
        if not service.cpu:
            gpu_selection(service, offer.gpus)
    except UsageError as error:
        problems += error.fields["problems"]
    if problems:
        raise UsageError("; ".join(problems), "./podkit.sh gpus lists types", problems=problems)


def wanted_gpus(service: Service, offer: Offer) -> list[WorkerGpu]:
    """The GPU types on which the service's workers may run."""
    if service.gpu_types:
        return [gpu for gpu in offer.gpus if gpu.id in service.gpu_types]
    chosen = [gpu for gpu in offer.gpus if gpu.pool in service.gpu_pools]
    return [gpu for gpu in chosen if gpu.id not in service.gpu_excluded]


def stock_warnings(service: Service, offer: Offer) -> list[str]:
    """What is not in stock now: workers of it would wait for a host."""
    found = []
    for gpu in wanted_gpus(service, offer):
        places = service.data_centers or list(gpu.stock)
        if not any(gpu.stock.get(place, "NONE") != "NONE" for place in places):
            where = ", ".join(service.data_centers) or "any data center"
            found.append(f"{gpu.id} is not in stock in {where} now; its workers would wait")
    return found
