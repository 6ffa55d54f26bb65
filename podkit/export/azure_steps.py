"""What the README of an export to AKS has of its own: the steps that make the cluster, deploying
from GitHub, and Azure's part of the backup.
"""

from __future__ import annotations

import json
import shlex

from podkit.export import vault
from podkit.export.plan import UNKNOWN_ID, Azure, Plan
from podkit.export.step import Step

WITHOUT_GPU = "an estimated $400 to $500 a month"
NEEDS = (
    "You need: a subscription of Azure in which you are Owner (a Contributor may give no roles); "
    "two host names of a domain whose DNS you can change; here az 2.80 or later, kubectl (`az aks "
    "install-cli` brings it), helm 3.8 or later, openssl, and podkit's checkout."
)


def kaito_step(plan: Plan) -> Step:
    size = plan.gpu.size
    return Step(
        "KAITO",
        "kubectl get crd inferencesets.kaito.sh -o jsonpath='{.spec.versions[*].name}'",
        "it prints v1beta1",
        "as KAITO's documentation says; node pools that it made are deleted by hand",
        "nothing by itself",
        "KAITO 0.11 or later with its node provisioner, as its documentation installs them: the "
        "add-on of AKS was at 0.6.0 in 2026, which does not know these objects. It makes nodes of "
        f"{size} itself; the pools of step 1 stay at zero. `az aks stop` is unsupported with live "
        "workspaces.",
    )


def azure_steps(plan: Plan, azure: Azure) -> list[Step]:
    options = "--tenant-id ... --client-id ... --prometheus-url ..."
    if azure.client_id != UNKNOWN_ID:
        options = ""  # the command has them already
    return [
        Step(
            "Quota, registry, network, database, cluster, GPU pools, vault, identity",
            "az login\naz account set --subscription YOUR_SUBSCRIPTION\n"
            "./azure/cluster.sh prices\n./azure/cluster.sh all",
            "`kubectl get nodes` lists two nodes without a GPU; `az aks nodepool list -g "
            f"{azure.name} --cluster-name {azure.name} -o table` lists gpu and gpuspot at 0",
            "`./azure/teardown.sh --yes`",
            f"{WITHOUT_GPU} from now on, and no GPU",
            "Half an hour. It ends at once, and says why, if there is no quota for the GPU. If it "
            "is interrupted, type it again: what is there is not made twice. Its last line is what "
            "step 2 asks for.",
        ),
        Step(
            "The same export with the ids that Azure gave",
            f"{plan.command} {options}".strip(),
            "`./check.sh` (in this folder) has no line LATER about ids",
            "export again without them",
            words="In podkit's checkout; THIS_FOLDER is this one. The three ids are the last line "
            "of step 1 (`./azure/cluster.sh ids` prints it again).",
        ),
        Step(
            "Images",
            "PODKIT=CHECKOUT ./azure/cluster.sh images",
            f"`az acr repository list --name {azure.registry}` lists podkit-gateway, podkit-jobs",
            f"`az acr repository delete --name {azure.registry} --repository podkit-gateway`",
            "cents for the build",
            "CHECKOUT is podkit's own folder. Engines are pulled from their own registries; "
            f"`az acr import --name {azure.registry} --source IMAGE` keeps a copy.",
        ),
    ]


def vault_certificates(azure: Azure) -> Step:
    named = " ".join(vault.CERTIFICATES.values())
    lines = []
    for name in vault.CERTIFICATES.values():
        lines.append(
            f"az keyvault certificate import --vault-name {azure.vault} --name {name} "
            "--file YOUR_CERTIFICATE.pfx"
        )
    return Step(
        "Certificates",
        "\n".join(lines),
        f"`az keyvault certificate list --vault-name {azure.vault}` lists {named}",
        f"`az keyvault certificate delete --vault-name {azure.vault} --name NAME`",
        words="One for each host, with its key (PKCS#12, no password). If you have none, export "
        "with `--tls cert-manager`: Let's Encrypt's cost nothing and are renewed without you.",
    )


def trust(name: str, subject: str) -> str:
    """The command that lets a workflow of the repository act as the app, without a secret."""
    credential = {
        "name": name,
        "issuer": "https://token.actions.githubusercontent.com",
        "subject": f"repo:OWNER/NAME:{subject}",
        "audiences": ["api://AzureADTokenExchange"],
    }
    told = shlex.quote(json.dumps(credential))
    return f"az ad app federated-credential create --id APP_ID --parameters {told}"


def ci_step(azure: Azure) -> Step:
    return Step(
        "Deploying from GitHub (if this folder is a repository there)",
        "mkdir -p .github/workflows && cp ci/github.yml .github/workflows/deploy.yml\n"
        f"az ad app create --display-name {azure.name}-ci    # prints appId: APP_ID below\n"
        "az ad sp create --id APP_ID\n"
        f"{trust('production', 'environment:production')}\n"
        f"{trust('main', 'ref:refs/heads/main')}\n"
        'az role assignment create --role "Azure Kubernetes Service Cluster User Role" '
        f"--assignee APP_ID --scope $(az aks show -g {azure.name} -n {azure.name} --query id "
        "--output tsv)",
        "a pull request is linted; a merge waits for a reviewer of the environment `production`",
        f"`az ad app delete --id APP_ID`; the app is named {azure.name}-ci",
        words="OWNER/NAME is the repository. AZURE_CLIENT_ID (the APP_ID), AZURE_TENANT_ID and "
        "AZURE_SUBSCRIPTION_ID are variables there, not secrets. Roll back: revert the commit. A "
        "staging cluster is an export with another --name and --host.",
    )
