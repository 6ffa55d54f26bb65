"""README.md of an export: its steps in their order, each with its check, its undo and its cost."""

from __future__ import annotations

import shlex

from podkit.export import stack
from podkit.export.azure_steps import WITHOUT_GPU, azure_steps, azure_tail, ci_step, kaito_step
from podkit.export.plan import EDGE, Plan
from podkit.export.sizes import PRICED_AT, RUNPOD_A100
from podkit.export.step import Step

PROGRAM = "podkit-gateway"
IN_GATEWAY = f"kubectl -n podkit exec deploy/gateway -c gateway -- {PROGRAM}"
KEEP = "kubectl -n podkit create secret generic {} --from-file=api-key=/dev/stdin"


def readme(plan: Plan) -> str:
    steps = [*first_steps(plan), *common_steps(plan), *last_steps(plan)]
    told = [step.text(number) for number, step in enumerate(steps, 1)]
    return "\n".join([head(plan), *told, tail(plan)])


def head(plan: Plan) -> str:
    names = ", ".join(f"`{engine.served_name}`" for engine in plan.engines)
    where = "AKS" if plan.azure else "Kubernetes"
    lines = [
        f"# {names} on {where}",
        "",
        f"Engine: {plan.engine}, {plan.least} to {plan.most} replicas of each model, one "
        f"{plan.gpu.name.upper()} each. API: https://{plan.host}/v1, chat page: "
        f"https://{plan.page_host}. Made by",
        "",
        "```",
        plan.command,
        "```",
        "",
        "Make it again rather than edit it: the same command gives the same bytes. The models' "
        "flags are those of podkit's pods.",
        "None of this has run on a real cluster yet; each step has a check for that reason.",
        "",
        "| model | checkpoint | room on this GPU |",
        "|---|---|---|",
    ]
    for engine in plan.engines:
        revision = engine.revision[:12]
        lines.append(
            f"| `{engine.served_name}` | {engine.repo} at {revision} | {engine.fit} |",
        )
    if plan.engine == "kaito":
        lines += [
            "",
            "KAITO has no field for a checkpoint's revision: what it serves is the newest, not the "
            "one in this table. Read first what has changed there.",
        ]
    return "\n".join([*lines, "", *price_lines(plan)])


def price_lines(plan: Plan) -> list[str]:
    if not plan.azure:
        return []
    price = plan.gpu.price
    told = "see below" if price is None else f"${price:.2f}"
    most = (
        "" if price is None else f" With all replicas at work: ${_most(plan, price):.2f} an hour."
    )
    return [
        f"A {plan.gpu.size} is {told} an hour (on demand, eastus, {PRICED_AT}); an A100 80 GB is "
        f"${RUNPOD_A100:.2f} at RunPod.{most}",
        "At zero replicas the cluster still costs: two D4s_v5 nodes, the control plane's standard "
        f"tier, PostgreSQL, a share of files, a load balancer: {WITHOUT_GPU}. Prices of your "
        "region, without an account:",
        "",
        "```",
        "curl -sG https://prices.azure.com/api/retail/prices --data-urlencode \\",
        f"  \"\\$filter=armSkuName eq '{plan.gpu.size}' and armRegionName eq "
        f"'{plan.azure.location}' and priceType eq 'Consumption'\"",
        "```",
        "",
    ]


def _most(plan: Plan, price: float) -> float:
    return price * plan.most * len(plan.engines)


def first_steps(plan: Plan) -> list[Step]:
    if plan.azure:
        return azure_steps(plan.azure)
    needs = (
        "kubectl 1.24 or later, Gateway API 1.x, KEDA 2.15 or later, a policy engine, Prometheus "
        "with its operator"
    )
    return [
        Step(
            "What the cluster has to have",
            "kubectl get crd gateways.gateway.networking.k8s.io scaledobjects.keda.sh "
            "podmonitors.monitoring.coreos.com\n"
            f"kubectl get gatewayclass {plan.gateway_class}\n"
            f"kubectl get storageclass {plan.storage_class}\n"
            f"kubectl label node YOUR_GPU_NODES podkit.dev/gpu={plan.gpu.name}",
            "each line names what it found; `kubectl get nodes -L podkit.dev/gpu` shows the GPUs",
            "`kubectl label node YOUR_GPU_NODES podkit.dev/gpu-`",
            words=f"{needs}; and NVIDIA's device plugin. The storage class must give volumes that "
            "many nodes mount (ReadWriteMany).",
        ),
        Step(
            "Images",
            f"docker build -f podkit_gateway/Containerfile -t {plan.gateway_image} CHECKOUT\n"
            f"docker build -t {plan.jobs_image} images\n"
            f"docker push {plan.gateway_image}\ndocker push {plan.jobs_image}",
            f"`docker manifest inspect {plan.jobs_image}`",
            "delete them from your registry",
            words="CHECKOUT is podkit's own folder; the first command is typed there.",
        ),
        Step(
            "Secrets",
            "kubectl apply -f base/namespace.yaml\n./secrets.sh DATABASE_URL_FILE YOU@EXAMPLE.ORG",
            "`kubectl -n podkit get secrets` lists gateway, engine and page",
            "`kubectl -n podkit delete secret gateway engine page`",
            words="A PostgreSQL for the gateway is yours to bring; its URL is the only line of a "
            "file. Certificates of both hosts go into the Secrets `tls-api` and `tls-page` of the "
            f"namespace {EDGE} (`kubectl create secret tls`, or cert-manager).",
        ),
    ]


def common_steps(plan: Plan) -> list[Step]:
    platform = Step(
        "Everything but the engines",
        "kubectl apply -k overlays/prod",
        "`kubectl -n podkit rollout status deployment/gateway`; "
        f"`kubectl -n {EDGE} get gateway podkit` has an address and PROGRAMMED True",
        "`kubectl delete -k overlays/prod` (with it go the chats and the models)",
        "an address, a share of files",
        "To look at it first without domain and TLS: `overlays/try`, then `kubectl -n podkit "
        "port-forward service/gateway 8080` and `... service/page 3000:8080`.",
    )
    return [platform, admin_step(plan), *fetch_steps(plan), engines_step(plan), smoke_step(plan)]


def admin_step(plan: Plan) -> Step:
    made = (
        f"{IN_GATEWAY} keys create --owner YOU@EXAMPLE.ORG --label page --on-behalf | tr -d '\\n'"
    )
    kept = KEEP.format("page-key")
    if plan.azure:
        kept = "./azure/cluster.sh page-key"
    typed = IN_GATEWAY.replace("exec", "exec -it")
    return Step(
        "The first person, and the chat page's key",
        f"{typed} admin create --email YOU@EXAMPLE.ORG\n{made} |\n  {kept}",
        "`kubectl -n podkit rollout status deployment/page`",
        f"`{PROGRAM} keys revoke ID` in the same way",
        words="The page waits for its key. People, keys and limits are made the same way; /admin "
        "is on no route.",
    )


def fetch_steps(plan: Plan) -> list[Step]:
    if plan.engine == "kaito":
        return [kaito_step(plan)]
    return [
        Step(
            "The checkpoints",
            "kubectl apply -f jobs/fetch.yaml\n"
            "kubectl -n podkit wait --for=condition=complete job/fetch --timeout 2h",
            "`kubectl -n podkit logs job/fetch` names each folder",
            "`kubectl delete -f jobs/fetch.yaml` (the store keeps what is there)",
            "minutes of a small pod",
            "Pinned revisions, compared with the Hub's hashes. A gated model needs the Secret "
            "`hugging-face` with the key `token`. To fetch again: delete the Job first.",
        )
    ]


def engines_step(plan: Plan) -> Step:
    typed = "kubectl apply -f engines/engines.yaml"
    undo = "`kubectl delete -f engines/engines.yaml`"
    if plan.has_router:
        typed = " ".join(stack.install_words())
        undo = f"`helm --namespace podkit uninstall {stack.RELEASE}`"
    cost = "from now on what its GPUs cost; with 0 as the least, nothing while nobody asks"
    return Step(
        "Engines",
        f"{typed}\nkubectl apply -f engines/scaling-prod.yaml",
        "`kubectl -n podkit get pods -l podkit.dev/part=engine` (a first start takes up to half an "
        "hour: node, image, model, compiler); `kubectl -n podkit get scaledobject` says READY True",
        f"`kubectl delete -f engines/scaling-prod.yaml`, then {undo}",
        cost,
        "`engines/scaling-try.yaml` in its place has one replica at most.",
    )


def smoke_step(plan: Plan) -> Step:
    made = f"{IN_GATEWAY} keys create --owner YOU@EXAMPLE.ORG --label smoke --days 7 | tr -d '\\n'"
    name = plan.engines[0].served_name
    body = f'{{"model": "{name}", "messages": [{{"role": "user", "content": "Bonjour"}}]}}'
    return Step(
        "Does it work?",
        f"{made} |\n  {KEEP.format('smoke')}\n"
        "kubectl apply -f jobs/smoke.yaml\n"
        "kubectl -n podkit wait --for=condition=complete job/smoke --timeout 40m\n"
        f'curl -sS https://{plan.host}/v1/chat/completions -H "Authorization: Bearer $KEY" \\\n'
        f"  -H 'Content-Type: application/json' -d {shlex.quote(body)}",
        "`kubectl -n podkit logs job/smoke` has only lines `ok`",
        "`kubectl delete -f jobs/smoke.yaml`; `kubectl -n podkit delete secret smoke`",
        "minutes of a GPU",
    )


def last_steps(plan: Plan) -> list[Step]:
    found = []
    if plan.named("olmocr") and plan.engine != "kaito":
        found.append(
            Step(
                "A folder of PDFs (when there is one)",
                "kubectl apply -f jobs/documents.yaml\n"
                "kubectl -n podkit wait --for=condition=ready pod/documents --timeout 10m\n"
                "kubectl -n podkit cp YOUR_FOLDER documents:/documents/in\n"
                "kubectl apply -f jobs/ocr.yaml\n"
                "kubectl -n podkit wait --for=condition=complete job/ocr --timeout 24h\n"
                "kubectl -n podkit cp documents:/documents/out texts",
                "`kubectl -n podkit logs -l batch.kubernetes.io/job-name=ocr -c ocr --prefix`",
                "`kubectl delete -f jobs/ocr.yaml -f jobs/documents.yaml` (the PDFs and texts go "
                "with it)",
                "a GPU for each of its pods, spot where there is a pool, until its share is read",
                "Each pod has an engine of its own. What a pod that was taken away had in hand is "
                "read again; what cannot be read is named `missing`, and its share fails.",
            )
        )
    if plan.azure:
        found.append(ci_step(plan.azure))
    return found


def tail(plan: Plan) -> str:
    lines = ["## Backup, and the drill", ""]
    lines += [
        "What cannot be made again is the gateway's database (people, keys, usage) and the page's "
        "volume (chats). Models, images and engines need no backup.",
        "",
        f"- `{IN_GATEWAY} backup /tmp/gateway.backup`, then `kubectl -n podkit cp`: digests and "
        "usage, no keys.",
        "- the chats: a snapshot of the claim page-data (VolumeSnapshot).",
    ]
    if plan.azure:
        lines += azure_tail(plan.azure)
    lines += [
        "",
        "The drill, once a quarter: restore into a new, empty database, point the Secret's "
        "database-url there, `kubectl -n podkit rollout restart deployment/gateway`, and ask with "
        "a key from before. Write down how long it took.",
        "",
        "## The end",
        "",
    ]
    if plan.azure:
        lines.append("`./azure/teardown.sh` deletes all, and lists what Azure keeps all the same.")
    else:
        lines.append("Undo the steps, the last one first. Then `kubectl delete namespace podkit`.")
    return "\n".join(lines) + "\n"
