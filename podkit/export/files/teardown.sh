#!/usr/bin/env bash
# teardown.sh: says what goes on costing, then deletes the resource group, and lists what that leaves.
set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
. "$here/settings.sh"

[[ ${1:-} == --yes ]] || {
  echo "This deletes $GROUP with its cluster, database, images, Key Vault, and the backups in it. To keep people, keys and chats, first:" >&2
  echo "  kubectl -n podkit create job --from=cronjob/backup last && kubectl -n podkit wait --for=condition=complete job/last --timeout 1h" >&2
  echo "  kubectl apply -f jobs/backups.yaml && kubectl -n podkit wait --for=condition=ready pod/backups --timeout 10m" >&2
  echo "  kubectl -n podkit cp backups:/backups backups    # into a new folder here; keep it as carefully as the chats in it" >&2
  echo "Then: $0 --yes" >&2
  exit 2
}
# Node pools that KAITO made are its own, and are not always gone with the cluster.
kubectl delete inferencesets,workspaces --all --all-namespaces --ignore-not-found 2>/dev/null || true
az group delete --name "$GROUP" --yes

echo 'What may be left, each with the command that shows it:'
echo "Key Vault, kept for 90 days with its name taken, unless: az keyvault purge --name $VAULT"
az keyvault list-deleted --query "[?name=='$VAULT'].{name:name, until:properties.scheduledPurgeDate}" --output table
echo 'The cluster'"'"'s own group of nodes and disks (a disk whose class says Retain stays, and is billed):'
az group list --query "[?starts_with(name, 'MC_${GROUP}_')].name" --output tsv
az resource list --resource-type Microsoft.Compute/disks --tag kubernetes.io-created-for-pvc-namespace=podkit \
  --query '[].[name, resourceGroup]' --output tsv
echo 'The group of managed Prometheus:'
az group list --query "[?starts_with(name, 'MA_${NAME}_')].name" --output tsv
echo "DNS records of $HOST and $PAGE_HOST at whoever has the zone; the app registration and its federated credential of the CI:"
az ad app list --display-name "$NAME-ci" --query '[].appId' --output tsv
