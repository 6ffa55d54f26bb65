"""Key Vault's secrets as Secrets of the cluster, by the Secrets Store CSI driver.

A Secret made so is there only while a pod mounts its provider: the gateway mounts that of the
engines' key, too.
"""

from __future__ import annotations

from podkit.export import objects
from podkit.export.objects import Object
from podkit.export.plan import EDGE, Azure, Plan

SECRETS = {
    "gateway": {"database-url": "gateway-database-url", "token-keys": "gateway-token-keys"},
    "engine": {"key": "engine-key"},
    "page": {
        "admin-email": "page-admin-email",
        "admin-password": "page-admin-password",
        "secret-key": "page-secret-key",
    },
    "page-key": {"api-key": "page-api-key"},
}
"""Each Secret's keys, and the names that Key Vault has them under."""
PROVIDERS = {"gateway": ("gateway", "engine"), "page": ("page", "page-key")}
"""The Secrets that each provider makes."""
CERTIFICATES = {"api": "podkit-api", "page": "podkit-page"}
"""Key Vault's names of the certificates of the Gateway's listeners."""
CERTIFICATE_READER = "certificate-reader"


def provider(azure: Azure, name: str) -> Object:
    """The SecretProviderClass of a part. Its `objects` are YAML in YAML, as the driver wants it."""
    listed = []
    made = []
    for secret in PROVIDERS[name]:
        data = []
        for key, vault_name in SECRETS[secret].items():
            item = objects.dump({"objectName": vault_name, "objectType": "secret"})
            listed.append(item)
            data.append({"objectName": vault_name, "key": key})
        made.append({"secretName": secret, "type": "Opaque", "data": data})
    return {
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": objects.metadata(name, name),
        "spec": {
            "provider": "azure",
            "secretObjects": made,
            "parameters": {
                "usePodIdentity": "false",
                "clientID": azure.client_id,
                "keyvaultName": azure.vault,
                "tenantId": azure.tenant_id,
                "objects": objects.dump({"array": listed}),
            },
        },
    }


def service_account(plan: Plan, name: str) -> Object:
    """Whom a part is to the cluster, and to Key Vault."""
    account: Object = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": objects.metadata(name, name),
        "automountServiceAccountToken": False,
    }
    if plan.azure:
        annotation = {"azure.workload.identity/client-id": plan.azure.client_id}
        account["metadata"]["annotations"] = annotation
    return account


def vault_volume(name: str) -> Object:
    """A part's secrets of Key Vault: the Secrets made of them are there only while this is
    mounted.
    """
    source = {
        "driver": "secrets-store.csi.k8s.io",
        "readOnly": True,
        "volumeAttributes": {"secretProviderClass": name},
    }
    return {"name": "vault", "csi": source}


def vault_mount() -> Object:
    return {"name": "vault", "mountPath": "/mnt/vault", "readOnly": True}


def vault_objects(azure: Azure) -> list[Object]:
    return [provider(azure, name) for name in PROVIDERS]


def certificate_reader(azure: Azure) -> Object:
    """Whom Key Vault knows the Gateway's listeners as; it lives beside the Gateway."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            **objects.metadata(CERTIFICATE_READER, "edge", namespace=EDGE),
            "annotations": {"azure.workload.identity/client-id": azure.client_id},
        },
    }
