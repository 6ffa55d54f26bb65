#!/usr/bin/env bash
# cluster.sh STEP...: makes the Azure side, step by step; each step does nothing where it was done already.
#   providers quota registry network database cluster gpu vault identity ids images    in this order; `all` is the first ten
#   alerts          the rules of rules.yml, and MAIL, whom they write to
#   prices          what an hour of the GPU and of a node without one costs in this region, in USD; needs no account
#   page-key        the gateway's key for the chat page, on standard input
#   database-url    the address of the gateway's database, on standard input: after a restore
# Needs az 2.80 or later (az login first), kubectl 1.24 or later and openssl. What exists is found by the names in settings.sh.
set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
. "$here/settings.sh"
umask 077
secret=$(mktemp -d)/value # the only file that a secret is in, however this ends
trap 'rm -rf "${secret%/*}"' EXIT

say() {
  printf 'cluster.sh: %s\n' "$1" >&2
}

# exists COMMAND...: whether az shows it.
exists() {
  az "$@" --output none 2>/dev/null
}

group() {
  az group create --name "$GROUP" --location "$LOCATION" --output none
}

# What a new subscription has not: the right to make each kind of thing. Doing it twice is nothing.
providers() {
  local provider
  for provider in AlertsManagement Compute ContainerRegistry ContainerService DBforPostgreSQL KeyVault ManagedIdentity Monitor Network Storage; do
    az provider register --namespace "Microsoft.$provider" --wait --output none
  done
}

# By Azure's public list of prices: on demand, and as spot.
prices() {
  local size filter
  for size in "$GPU_SIZE" Standard_D4s_v5; do
    filter="armSkuName%20eq%20'$size'%20and%20armRegionName%20eq%20'$LOCATION'%20and%20priceType%20eq%20'Consumption'"
    az rest --method get --skip-authorization-header --url "https://prices.azure.com/api/retail/prices?\$filter=$filter" \
      --query "Items[?!contains(productName, 'Windows') && !contains(skuName, 'Low Priority')].[armSkuName, skuName, retailPrice]" \
      --output tsv
  done
}

# Before anything is made: a GPU pool without quota fails after ten minutes.
quota() {
  local line used limit
  line=$(az vm list-usage --location "$LOCATION" --query "[?name.value=='$GPU_FAMILY'].[currentValue, limit]" --output tsv)
  used=${line%%$'\t'*}
  limit=${line##*$'\t'}
  if [[ -z $line ]] || ((limit - used < GPU_CORES)); then
    say "quota of $GPU_FAMILY in $LOCATION is ${limit:-0} cores, ${used:-0} used; one GPU needs $GPU_CORES"
    say 'ask for more: portal.azure.com, Quotas, Compute, New quota request (a day or two)'
    return 1
  fi
  say "quota of $GPU_FAMILY: $((limit - used)) cores free, $((GPU_CORES * GPU_MOST)) are needed for all replicas"
}

registry() {
  group
  exists acr show --name "$REGISTRY" || az acr create --resource-group "$GROUP" --name "$REGISTRY" --sku Basic --output none
}

network() {
  group
  exists network vnet show --resource-group "$GROUP" --name "$NAME" ||
    az network vnet create --resource-group "$GROUP" --name "$NAME" --address-prefixes 10.226.0.0/16 \
      --subnet-name nodes --subnet-prefixes 10.226.0.0/20 --output none
  exists network vnet subnet show --resource-group "$GROUP" --vnet-name "$NAME" --name database ||
    az network vnet subnet create --resource-group "$GROUP" --vnet-name "$NAME" --name database \
      --address-prefixes "$DATABASE_NETWORK" --delegations Microsoft.DBforPostgreSQL/flexibleServers --output none
}

# PostgreSQL for the gateway, reachable from the network alone; backups of 14 days, to any second. Its address is in the
# vault before it is made: a run that was interrupted goes on with the same password. Azure wants three kinds of
# characters in it.
database() {
  vault
  exists keyvault secret show --vault-name "$VAULT" --name gateway-database-url ||
    printf 'postgresql+asyncpg://podkit:%s@%s-db.postgres.database.azure.com:5432/gateway?ssl=require' \
      "Aa1-$(openssl rand -hex 24)" "$NAME" | replace gateway-database-url
  exists postgres flexible-server show --resource-group "$GROUP" --name "$NAME-db" || {
    az keyvault secret show --vault-name "$VAULT" --name gateway-database-url --query value --output tsv |
      sed 's#^.*//podkit:\([^@]*\)@.*#\1#' | tr -d '\n' >"$secret"
    az postgres flexible-server create --resource-group "$GROUP" --name "$NAME-db" --location "$LOCATION" \
      --tier Burstable --sku-name Standard_B1ms --storage-size 32 --version 17 --backup-retention 14 \
      --vnet "$NAME" --subnet database --private-dns-zone "$NAME.private.postgres.database.azure.com" \
      --admin-user podkit --admin-password "@$secret" --yes --output none
  }
  exists postgres flexible-server db show --resource-group "$GROUP" --server-name "$NAME-db" --name gateway ||
    az postgres flexible-server db create --resource-group "$GROUP" --server-name "$NAME-db" --name gateway --output none
}

cluster() {
  exists monitor account show --resource-group "$GROUP" --name "$NAME" ||
    az monitor account create --resource-group "$GROUP" --name "$NAME" --location "$LOCATION" --output none
  exists aks show --resource-group "$GROUP" --name "$NAME" ||
    az aks create --resource-group "$GROUP" --name "$NAME" --location "$LOCATION" --tier standard \
      --node-count 2 --node-vm-size Standard_D4s_v5 --enable-cluster-autoscaler --min-count 2 --max-count 4 \
      --network-plugin azure --network-plugin-mode overlay --network-dataplane cilium --pod-cidr "$POD_NETWORK" \
      --vnet-subnet-id "$(az network vnet subnet show --resource-group "$GROUP" --vnet-name "$NAME" --name nodes --query id --output tsv)" \
      --enable-oidc-issuer --enable-workload-identity --enable-keda --enable-gateway-api --enable-app-routing-istio \
      --enable-addons azure-keyvault-secrets-provider --enable-secret-rotation --enable-azure-monitor-metrics \
      --azure-monitor-workspace-resource-id "$(az monitor account show --resource-group "$GROUP" --name "$NAME" --query id --output tsv)" \
      --attach-acr "$REGISTRY" --generate-ssh-keys --output none
  az aks get-credentials --resource-group "$GROUP" --name "$NAME" --overwrite-existing
}

# Two pools of the GPU, both at zero until a pod asks: on demand for the engines, spot for the OCR fleet, to which AKS
# gives a taint and a label of its own.
gpu() {
  exists aks nodepool show --resource-group "$GROUP" --cluster-name "$NAME" --name gpu ||
    az aks nodepool add --resource-group "$GROUP" --cluster-name "$NAME" --name gpu --node-vm-size "$GPU_SIZE" \
      --node-taints sku=gpu:NoSchedule --labels "podkit.dev/gpu=$GPU" \
      --enable-cluster-autoscaler --node-count 0 --min-count 0 --max-count "$GPU_MOST" --output none
  exists aks nodepool show --resource-group "$GROUP" --cluster-name "$NAME" --name gpuspot ||
    az aks nodepool add --resource-group "$GROUP" --cluster-name "$NAME" --name gpuspot --node-vm-size "$GPU_SIZE" \
      --priority Spot --eviction-policy Delete --spot-max-price -1 \
      --node-taints sku=gpu:NoSchedule --labels "podkit.dev/gpu=$GPU" \
      --enable-cluster-autoscaler --node-count 0 --min-count 0 --max-count "$GPU_MOST" --output none
  kubectl apply -f "$here/gpu-nodes.yaml"
}

# put NAME: a secret of the vault from standard input, if it is not there.
put() {
  if exists keyvault secret show --vault-name "$VAULT" --name "$1"; then
    cat >/dev/null
  else
    replace "$1"
  fi
}

# replace NAME: a secret of the vault from standard input, in place of the one before, which the vault keeps.
replace() {
  tr -d '\n' >"$secret"
  az keyvault secret set --vault-name "$VAULT" --name "$1" --file "$secret" --output none
}

vault() {
  local pause=0
  group
  exists keyvault show --name "$VAULT" || {
    az keyvault create --resource-group "$GROUP" --name "$VAULT" --location "$LOCATION" \
      --enable-rbac-authorization true --output none
    pause=120
  }
  az role assignment create --role 'Key Vault Administrator' --assignee "$(az ad signed-in-user show --query id --output tsv)" \
    --scope "$(az keyvault show --name "$VAULT" --query id --output tsv)" --output none
  ((pause == 0)) || say 'waiting two minutes for the role to be known everywhere'
  sleep "$pause"
  { printf 'k1:' && openssl rand -hex 32; } | put gateway-token-keys
  openssl rand -hex 32 | put engine-key
  openssl rand -hex 16 | put page-admin-password
  openssl rand -hex 32 | put page-secret-key
  printf 'admin@%s' "$HOST" | put page-admin-email
}

# trust NAME SUBJECT: a ServiceAccount of the cluster may act as the identity.
trust() {
  exists identity federated-credential show --resource-group "$GROUP" --identity-name "$NAME" --name "$1" ||
    az identity federated-credential create --resource-group "$GROUP" --identity-name "$NAME" --name "$1" \
      --issuer "$(az aks show --resource-group "$GROUP" --name "$NAME" --query oidcIssuerProfile.issuerUrl --output tsv)" \
      --subject "system:serviceaccount:$2" --audiences api://AzureADTokenExchange --output none
}

identity() {
  local principal scope
  exists identity show --resource-group "$GROUP" --name "$NAME" ||
    az identity create --resource-group "$GROUP" --name "$NAME" --location "$LOCATION" --output none
  trust gateway podkit:gateway
  trust page podkit:page
  trust certificates podkit-edge:certificate-reader
  trust keda kube-system:keda-operator
  principal=$(az identity show --resource-group "$GROUP" --name "$NAME" --query principalId --output tsv)
  scope=$(az keyvault show --name "$VAULT" --query id --output tsv)
  az role assignment create --role 'Key Vault Secrets User' --assignee-object-id "$principal" \
    --assignee-principal-type ServicePrincipal --scope "$scope" --output none
  az role assignment create --role 'Key Vault Certificate User' --assignee-object-id "$principal" \
    --assignee-principal-type ServicePrincipal --scope "$scope" --output none
  scope=$(az monitor account show --resource-group "$GROUP" --name "$NAME" --query id --output tsv)
  az role assignment create --role 'Monitoring Data Reader' --assignee-object-id "$principal" \
    --assignee-principal-type ServicePrincipal --scope "$scope" --output none
  az role assignment create --role 'Monitoring Data Reader' --assignee "$(az ad signed-in-user show --query id --output tsv)" \
    --scope "$scope" --output none
}

alerts() {
  az deployment group create --resource-group "$GROUP" --name alerts --template-file "$here/alerts.json" --output none \
    --parameters "workspace=$(az monitor account show --resource-group "$GROUP" --name "$NAME" --query id --output tsv)" \
    "mail=${MAIL:?is the address that alerts are sent to}"
}

# What the export has to know: the options to make it again with.
ids() {
  printf -- '--tenant-id %s --client-id %s --prometheus-url %s\n' \
    "$(az account show --query tenantId --output tsv)" \
    "$(az identity show --resource-group "$GROUP" --name "$NAME" --query clientId --output tsv)" \
    "$(az monitor account show --resource-group "$GROUP" --name "$NAME" --query metrics.prometheusQueryEndpoint --output tsv)"
}

# images: from podkit's checkout (PODKIT names it), and what the Jobs run.
images() {
  az acr build --registry "$REGISTRY" --image "podkit-gateway:$VERSION" \
    --file "${PODKIT:?names the checkout of podkit}/podkit_gateway/Containerfile" "$PODKIT"
  az acr build --registry "$REGISTRY" --image "podkit-jobs:$VERSION" --file "$here/../images/Containerfile" "$here/../images"
}

for step in "${@:-help}"; do
  case $step in
    all)
      for one in providers quota registry network database cluster gpu vault identity; do "$one"; done
      ids
      ;;
    page-key) replace page-api-key ;;
    database-url) replace gateway-database-url ;;
    alerts | prices | providers | quota | registry | network | database | cluster | gpu | vault | identity | ids | images) "$step" ;;
    *)
      sed -n '2,9s/^# //p' "${BASH_SOURCE[0]}" >&2
      exit 2
      ;;
  esac
done
