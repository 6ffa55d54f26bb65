#!/usr/bin/env bash
# check.sh: what can be known of these files without a cluster, then, if kubectl has one, what that says to them.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
unknown=0

for overlay in overlays/*; do
  kubectl kustomize "$overlay" >/dev/null
  echo "ok      $overlay renders"
done
if grep -rn -e 00000000-0000-0000-0000-000000000000 -e unknown.invalid --include='*.yaml' . >/dev/null; then
  echo "LATER   ids are not filled in: export again with what ./azure/cluster.sh ids prints"
  unknown=1
fi
if kubectl version --request-timeout=5s >/dev/null 2>&1; then
  kubectl get namespace podkit >/dev/null 2>&1 || kubectl apply -f base/namespace.yaml
  for overlay in overlays/*; do
    kubectl apply --dry-run=server -k "$overlay" >/dev/null
    echo "ok      the cluster would take $overlay"
  done
else
  echo "LATER   kubectl reaches no cluster"
fi
exit "$unknown"
