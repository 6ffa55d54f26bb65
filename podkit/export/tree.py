"""All files of an export, by their paths: the same plan gives the same bytes.

base/       what both overlays have: the gateway, the page, the store, who may reach whom
overlays/   prod: hosts, TLS, several gateways. try: one of each, reached by port-forward
engines/    what asks for GPUs, applied last
jobs/       what runs once
images/     what the Jobs run
azure/ ci/  AKS alone
"""

from __future__ import annotations

import shlex
from pathlib import Path

from podkit import __version__
from podkit.export import (
    backups,
    engines,
    gateway,
    jobs,
    kaito,
    monitoring,
    objects,
    page,
    policies,
    routes,
    scaling,
    stack,
    vault,
)
from podkit.export.gpu_nodes import gpu_node_objects
from podkit.export.objects import Object
from podkit.export.plan import NAMESPACE, Azure, Plan
from podkit.export.readme import readme
from podkit.export.versions import pinned_version

PROD = ("https://{api}", "https://{page}")
TRY = ("http://127.0.0.1:8080", "http://127.0.0.1:3000")
"""The addresses of gateway and page: those of the overlay `try` are forwarded ports."""
OCR_MODEL = "olmocr"
SMOKE_REQUIREMENTS = "openai==3.54.0\n"


def build_tree(plan: Plan, root: Path) -> dict[str, str]:
    """Every file of the export, from the checkout at `root`."""
    startup = root / "startup"
    vllm = pinned_version(startup, "vllm")
    tree = {
        "README.md": readme(plan),
        "check.sh": jobs.program("check.sh"),
        "rules.yml": objects.dump(rules(plan, root)),
        **base(plan, root),
        **overlay(plan, startup, "prod"),
        **overlay(plan, startup, "try"),
        **engine_files(plan, vllm),
        **job_files(plan, vllm),
        **backup_files(plan, pinned_version(startup, "webui")),
        **image_files(root),
    }
    if plan.azure:
        tree |= azure_files(plan, plan.azure)
        tree["azure/alerts.json"] = monitoring.alert_template(rules(plan, root))
    else:
        tree["secrets.sh"] = jobs.program("secrets.sh")
    return tree


def rules(plan: Plan, root: Path) -> Object:
    return monitoring.alert_rules(plan, root, jobs.program("rules.yml"))


def kustomization(names: list[str], generated: list[Object] | None = None) -> str:
    told: Object = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": names,
    }
    if generated:
        told["configMapGenerator"] = generated
    return objects.dump(told)


def namespace() -> Object:
    """Pods that are privileged are refused; those that are not restricted are named."""
    prefix = "pod-security.kubernetes.io"
    levels = {f"{prefix}/enforce": "baseline", f"{prefix}/warn": "restricted"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": levels},
    }


def base(plan: Plan, root: Path) -> dict[str, str]:
    webui = pinned_version(root / "startup", "webui")
    monitors = monitoring.monitor_objects(plan)
    monitors.append(monitoring.dashboard(root))
    if not plan.azure:
        monitors.append(monitoring.rule_object(rules(plan, root)))
    groups = {
        "namespace": [namespace(), routes.edge_namespace()],
        "policies": policies.policy_objects(plan),
        "gateway": gateway.gateway_objects(plan),
        "page": page.page_objects(plan, webui),
        "backup": backups.backup_objects(plan, webui),
        "store": jobs.store_objects(plan),
        "monitoring": monitors,
    }
    if plan.azure:
        groups["vault"] = vault.vault_objects(plan.azure)
        groups["store"] = [jobs.nfs_class(), *groups["store"]]
    tree = {}
    for name, found in groups.items():
        if found:
            tree[f"base/{name}.yaml"] = objects.dump(*found)
    names = [Path(name).name for name in tree]
    return {"base/kustomization.yaml": kustomization(names), **tree}


def overlay(plan: Plan, startup: Path, name: str) -> dict[str, str]:
    """An overlay: its settings, and in prod what several gateways and the world need.

    The settings are generated ConfigMaps: a change of one gives it another name, so that `apply`
    starts the pods that read it again.
    """
    folder = f"overlays/{name}"
    groups: dict[str, list[Object]] = {}
    if name == "prod":
        settings = overlay_settings(plan, startup, PROD, gateway.MOST_REPLICAS)
        groups["routes"] = routes.route_objects(plan)
        groups["replicas"] = gateway.gateway_autoscaler()
    else:
        settings = overlay_settings(plan, startup, TRY, 1)
    tree = {}
    for group, found in groups.items():
        tree[f"{folder}/{group}.yaml"] = objects.dump(*found)
    generated = []
    for map_name, values in settings.items():
        tree[f"{folder}/{map_name}.env"] = "".join(f"{key}={values[key]}\n" for key in values)
        generated.append({"name": map_name, "namespace": NAMESPACE, "envs": [f"{map_name}.env"]})
    listed = ["../../base", *(f"{group}.yaml" for group in groups)]
    return {f"{folder}/kustomization.yaml": kustomization(listed, generated), **tree}


def overlay_settings(
    plan: Plan,
    startup: Path,
    addresses: tuple[str, str],
    replicas: int,
) -> dict[str, dict[str, str]]:
    """The settings of gateway and page, reached at these addresses, by their ConfigMaps' names."""
    api, chat = (one.format(api=plan.host, page=plan.page_host) for one in addresses)
    return {
        gateway.SETTINGS: gateway.gateway_settings(plan, api, replicas),
        page.SETTINGS: page.page_settings(startup, plan, chat),
    }


def engine_files(plan: Plan, vllm: str) -> dict[str, str]:
    tree = {}
    if plan.has_router:
        tree["engines/vllm-stack.yaml"] = objects.dump(stack.values(plan, vllm))
    elif plan.engine == "plain":
        found = engines.engine_objects(plan, engines.engine_image(vllm))
        tree["engines/engines.yaml"] = objects.dump(*found, *engines.engine_budgets(plan))
    else:
        tree["engines/engines.yaml"] = objects.dump(*kaito.kaito_objects(plan))
    signed = scaling.authentication(plan)
    for name, most in (("prod", plan.most), ("try", 1)):
        found = scaling.scaled_objects(plan, most)
        tree[f"engines/scaling-{name}.yaml"] = objects.dump(*signed, *found)
    return tree


def job_files(plan: Plan, vllm: str) -> dict[str, str]:
    tree = {"jobs/smoke.yaml": objects.dump(*jobs.smoke_objects(plan))}
    if plan.engine == "kaito":
        return tree
    tree["jobs/fetch.yaml"] = objects.dump(*jobs.fetch_objects(plan))
    reader = plan.find_engine(OCR_MODEL)
    if reader:
        found = jobs.ocr_objects(plan, reader, engines.engine_image(vllm))
        tree["jobs/ocr.yaml"] = objects.dump(*found)
        tree["jobs/documents.yaml"] = objects.dump(*jobs.document_objects(plan))
    return tree


def backup_files(plan: Plan, webui: str) -> dict[str, str]:
    return {
        "jobs/backups.yaml": objects.dump(*backups.reach_objects(plan)),
        "jobs/restore-database.yaml": objects.dump(*backups.restore_database_objects(plan)),
        "jobs/restore-page.yaml": objects.dump(*backups.restore_page_objects(plan, webui)),
    }


def image_files(root: Path) -> dict[str, str]:
    tree = {
        "images/Containerfile": jobs.program("Containerfile"),
        "images/requirements-smoke.txt": SMOKE_REQUIREMENTS,
    }
    for name in ("constraints-hf.txt", "constraints-olmocr.txt"):
        tree[f"images/{name}"] = (root / "startup" / name).read_text(encoding="utf-8")
    return tree


def azure_files(plan: Plan, azure: Azure) -> dict[str, str]:
    settings = {
        "NAME": azure.name,
        "GROUP": azure.name,
        "LOCATION": azure.location,
        "REGISTRY": azure.registry,
        "VAULT": azure.vault,
        "HOST": plan.host,
        "PAGE_HOST": plan.page_host,
        "GPU": plan.gpu.name,
        "GPU_SIZE": plan.gpu.size,
        "GPU_FAMILY": plan.gpu.family,
        "GPU_CORES": str(plan.gpu.cores),
        "GPU_MOST": str(plan.most * len(plan.engines)),
        "POD_NETWORK": plan.pod_network,
        "DATABASE_NETWORK": plan.database_network,
        "VERSION": __version__,
    }
    lines = ["# shellcheck shell=bash disable=SC2034", "# What cluster.sh and teardown.sh read."]
    for name, value in settings.items():
        lines.append(f"{name}={shlex.quote(value)}")
    install = " ".join(stack.install_words())
    if not plan.has_router:
        install = "kubectl apply -f engines/engines.yaml"
    workflow = jobs.program("github.yml").replace("@NAME", azure.name)
    return {
        "azure/settings.sh": "\n".join(lines) + "\n",
        "azure/cluster.sh": jobs.program("cluster.sh"),
        "azure/teardown.sh": jobs.program("teardown.sh"),
        "azure/gpu-nodes.yaml": objects.dump(*gpu_node_objects(plan)),
        "ci/github.yml": workflow.replace("@ENGINES", install),
    }
