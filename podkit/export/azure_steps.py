"""What the README of an export to AKS has of its own: the steps that make the cluster, deploying
from GitHub, and Azure's part of the backup.
"""

from __future__ import annotations

import json
import shlex

from podkit.export import vault
from podkit.export.plan import Azure, Plan
from podkit.export.step import Step

WITHOUT_GPU = "an estimated $400 to $500 a month"


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


def azure_steps(azure: Azure) -> list[Step]:
    options = "--tenant-id ... --client-id ... --prometheus-url ..."
    named = " ".join(vault.CERTIFICATES.values())
    return [
        Step(
            "Quota, registry, network, database, cluster, GPU pools, vault, identity",
            "az login\naz account set --subscription YOUR_SUBSCRIPTION\n./azure/cluster.sh all",
            "`kubectl get nodes` lists two nodes without a GPU; `az aks nodepool list -g "
            f"{azure.name} --cluster-name {azure.name} -o table` lists gpu and gpuspot at 0",
            "`./azure/teardown.sh --yes`",
            f"{WITHOUT_GPU} from now on, and no GPU",
            "Half an hour. It ends at once, and says why, if there is no quota for the GPU.",
        ),
        Step(
            "The same export with the ids that Azure gave",
            f"./podkit.sh export aks ... {options}    # the line above ends with these",
            "`./check.sh` has no line LATER",
            "export again without them",
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
        Step(
            "Certificates",
            "\n".join(
                f"az keyvault certificate import --vault-name {azure.vault} --name {name} "
                "--file YOUR_CERTIFICATE.pfx"
                for name in vault.CERTIFICATES.values()
            ),
            f"`az keyvault certificate list --vault-name {azure.vault}` lists {named}",
            f"`az keyvault certificate delete --vault-name {azure.vault} --name NAME`",
        ),
    ]


def trusted(name: str, subject: str) -> str:
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
        f"{trusted('production', 'environment:production')}\n"
        f"{trusted('main', 'ref:refs/heads/main')}\n"
        'az role assignment create --role "Azure Kubernetes Service Cluster User Role" '
        f"--assignee APP_ID --scope $(az aks show -g {azure.name} -n {azure.name} --query id "
        "--output tsv)",
        "a pull request is linted; a merge waits for a reviewer of the environment `production`",
        f"`az ad app delete --id APP_ID`; the app is named {azure.name}-ci",
        words="OWNER/NAME is the repository. AZURE_CLIENT_ID (the APP_ID), AZURE_TENANT_ID and "
        "AZURE_SUBSCRIPTION_ID are variables there, not secrets. Roll back: revert the commit. A "
        "staging cluster is an export with another --name and --host.",
    )


def azure_tail(azure: Azure) -> list[str]:
    server = f"{azure.name}-db"
    return [
        "- Azure keeps 14 days of the database, to any second:",
        "",
        "```",
        f"az postgres flexible-server restore --resource-group {azure.name} "
        f"--name {server}-restored --source-server {server} --restore-time 2026-01-31T12:00:00Z",
        "```",
    ]
