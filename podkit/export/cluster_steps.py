"""What the README of an export to any cluster has of its own: what is there already, images and
secrets; and the certificates, for AKS, too.
"""

from __future__ import annotations

from podkit.export.azure_steps import vault_certificates
from podkit.export.plan import EDGE, Plan
from podkit.export.step import Step

CERT_MANAGER = "oci://quay.io/jetstack/charts/cert-manager --version v1.21.1"
KUBERNETES_NEEDS = (
    "You need: the cluster's administrator rights; two host names of a domain whose DNS you can "
    "change; a PostgreSQL (17 or older) that the cluster reaches; here kubectl 1.24 or later, helm "
    "3.8 or later, docker or podman, openssl, and podkit's checkout."
)


def cluster_steps(plan: Plan) -> list[Step]:
    return [cluster_step(plan), images_step(plan), secrets_step()]


def cluster_step(plan: Plan) -> Step:
    needs = (
        "Gateway API 1.x, KEDA 2.15 or later, a network plugin that holds NetworkPolicies, "
        "Prometheus with its operator, which takes PodMonitors and PrometheusRules of every "
        "namespace (kube-prometheus-stack: podMonitorSelectorNilUsesHelmValues and "
        "ruleSelectorNilUsesHelmValues are false)"
    )
    return Step(
        "What the cluster has to have",
        "kubectl get crd gateways.gateway.networking.k8s.io scaledobjects.keda.sh "
        "podmonitors.monitoring.coreos.com\n"
        f"kubectl get gatewayclass {plan.gateway_class}\n"
        f"kubectl get storageclass {plan.storage_class}\n"
        f"kubectl label node YOUR_GPU_NODES podkit.dev/gpu={plan.gpu.name}",
        "each line names what it found; `kubectl get nodes -L podkit.dev/gpu` shows the GPUs",
        "`kubectl label node YOUR_GPU_NODES podkit.dev/gpu-`",
        words=f"{needs}; and NVIDIA's device plugin. The storage class must give volumes that "
        "many nodes mount (ReadWriteMany). The gateway class must put its proxies beside the "
        "Gateway, as Istio does: from another namespace the policies let nobody in.",
    )


def images_step(plan: Plan) -> Step:
    return Step(
        "Images",
        f"docker build -t {plan.gateway_image} -f CHECKOUT/podkit_gateway/Containerfile "
        "CHECKOUT\n"
        f"docker build -t {plan.jobs_image} images\n"
        f"docker push {plan.gateway_image}\ndocker push {plan.jobs_image}",
        f"`docker manifest inspect {plan.jobs_image}`",
        "delete them from your registry",
        words="CHECKOUT is podkit's own folder.",
    )


def secrets_step() -> Step:
    return Step(
        "Secrets",
        "kubectl apply -f base/namespace.yaml\n./secrets.sh DATABASE_URL_FILE YOU@EXAMPLE.ORG",
        "`kubectl -n podkit get secrets` lists gateway, engine and page",
        "`kubectl -n podkit delete secret gateway engine page`",
        words="A PostgreSQL for the gateway is yours to bring; its URL is the only line of the "
        "file: `postgresql+asyncpg://USER:PASSWORD@HOST:5432/DATABASE?ssl=require`.",
    )


def certificates_step(plan: Plan) -> Step:
    if plan.azure and plan.vault_has_certificates:
        return vault_certificates(plan.azure)
    if plan.tls == "own":
        make = f"kubectl -n {EDGE} create secret tls"
        return Step(
            "Certificates",
            f"{make} tls-api --cert YOUR.crt --key YOUR.key\n"
            f"{make} tls-page --cert YOUR.crt --key YOUR.key",
            f"`kubectl -n {EDGE} get secret tls-api tls-page`",
            f"`kubectl -n {EDGE} delete secret tls-api tls-page`",
            words="One for each host. If you have none, export with `--tls cert-manager`.",
        )
    config = "controller.config.cert-manager.io/v1alpha1"
    return Step(
        "cert-manager",
        f"helm upgrade --install cert-manager {CERT_MANAGER} \\\n"
        "  --namespace cert-manager --create-namespace --set crds.enabled=true \\\n"
        f"  --set config.apiVersion={config} --set config.kind=ControllerConfiguration \\\n"
        "  --set config.enableGatewayAPI=true",
        "`kubectl -n cert-manager rollout status deployment/cert-manager`",
        "`helm --namespace cert-manager uninstall cert-manager` (certificates stay until they end)",
        words="It proves to Let's Encrypt that the hosts are yours, over port 80, once they point "
        "at the Gateway; and again before each certificate ends.",
    )
