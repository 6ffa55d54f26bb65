"""README.md of an export: its steps in their order, each with its check, its undo and its cost."""

from __future__ import annotations

import shlex

from podkit.export import stack
from podkit.export.azure_steps import (
    NEEDS,
    WITHOUT_GPU,
    azure_steps,
    ci_step,
    kaito_step,
)
from podkit.export.cluster_steps import KUBERNETES_NEEDS, certificates_step, cluster_steps
from podkit.export.digests import ASKED
from podkit.export.kaito import CREATED_BY
from podkit.export.plan import EDGE, Plan
from podkit.export.recovery import backup_step, recovery
from podkit.export.sizes import PRICED_AT, RUNPOD_A100
from podkit.export.step import Step

PROGRAM = "podkit-gateway"
IN_GATEWAY = f"kubectl -n podkit exec deploy/gateway -c gateway -- {PROGRAM}"
SHOW_KEY = (
    "kubectl -n podkit get secret smoke -o jsonpath='{.data.api-key}' | base64 -d |\n"
    "  sed 's/^/Authorization: Bearer /'"
)
KEEP = "kubectl -n podkit create secret generic {} --from-file=api-key=/dev/stdin"


def readme(plan: Plan) -> str:
    steps = [*first_steps(plan), *common_steps(plan), *last_steps(plan)]
    told = [step.text(number) for number, step in enumerate(steps, 1)]
    return "\n".join([head(plan), *told, recovery(plan)])


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
        NEEDS if plan.azure else KUBERNETES_NEEDS,
        "Type every command in this folder, but `./podkit.sh ...`: that is typed in podkit's "
        "checkout. Take the steps in their order; a step whose check fails is the place to stop. "
        "Words in capitals are yours to fill in.",
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
        f"tier, PostgreSQL, a share of files, a load balancer: {WITHOUT_GPU}. "
        f"`./azure/cluster.sh prices` asks for the prices of {plan.azure.location}. Make a budget "
        "that mails you (portal.azure.com, Cost Management, Budgets): Azure ends nothing itself.",
        "",
    ]


def _most(plan: Plan, price: float) -> float:
    return price * plan.most * len(plan.engines)


def first_steps(plan: Plan) -> list[Step]:
    if plan.azure:
        return [*azure_steps(plan, plan.azure), certificates_step(plan)]
    return [*cluster_steps(plan), certificates_step(plan)]


def common_steps(plan: Plan) -> list[Step]:
    platform = Step(
        "Everything but the engines",
        "kubectl apply -k overlays/prod",
        "`kubectl -n podkit rollout status deployment/gateway`; "
        f"`kubectl -n {EDGE} get gateway podkit` has an address and PROGRAMMED True; once the "
        f"hosts point there, `curl https://{plan.host}/health` answers",
        "`kubectl delete -k overlays/prod` (with it go the chats, their backups and the models)",
        "an address, a share of files, two small disks",
        f"Then make the DNS records: {plan.host} and {plan.page_host} are names of the Gateway's "
        "address. To look at it first without domain and TLS: `overlays/try`, then `kubectl -n "
        "podkit port-forward service/gateway 8080` and `... service/page 3000:8080`.",
    )
    return [
        platform,
        admin_step(plan),
        watch_step(plan),
        *fetch_steps(plan),
        engines_step(plan),
        smoke_step(plan),
        backup_step(),
        digests_step(plan),
    ]


def admin_step(plan: Plan) -> Step:
    made = (
        f"{IN_GATEWAY} keys create --owner YOU@EXAMPLE.ORG --label page --on-behalf | tr -d '\\n'"
    )
    kept = KEEP.format("page-key")
    if plan.azure:
        kept = "./azure/cluster.sh page-key"
    typed = IN_GATEWAY.replace("exec", "exec -it")
    owner = "YOU@EXAMPLE.ORG, as given to secrets.sh,"
    shown = "kubectl -n podkit get secret page -o jsonpath='{.data.admin-password}' | base64 -d"
    if plan.azure:
        owner = f"admin@{plan.host}"
        shown = (
            f"az keyvault secret show --vault-name {plan.azure.vault} --name page-admin-password "
            "--query value --output tsv"
        )
    return Step(
        "The first person, and the chat page's key",
        f"{typed} admin create --email YOU@EXAMPLE.ORG\n{made} |\n  {kept}",
        "`kubectl -n podkit rollout status deployment/page`",
        f"`{PROGRAM} keys revoke ID` in the same way",
        words=f"The page waits for its key. {owner} signs in there with the password that "
        f"`{shown}` shows. People, keys and limits of the API are made as below, or by hand at "
        "http://127.0.0.1:8080/admin while `kubectl -n podkit port-forward service/gateway 8080` "
        "runs: the world has no route there.",
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
    pods = "-l podkit.dev/part=engine"
    if plan.engine == "kaito":
        pods = f"-l {CREATED_BY}"
    cost = "from now on what its GPUs cost; with 0 as the least, nothing while nobody asks"
    return Step(
        "Engines",
        f"{typed}\nkubectl apply -f engines/scaling-prod.yaml",
        f"`kubectl -n podkit get pods {pods}` (a first start takes up to half an "
        "hour: node, image, model, compiler); `kubectl -n podkit get scaledobject` says READY "
        f"True. One that stays Pending says why: `kubectl -n podkit describe pods {pods}`",
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
        f"{SHOW_KEY} |\n"
        f"  curl -sS -H @- https://{plan.host}/v1/chat/completions \\\n"
        f"  -H 'Content-Type: application/json' -d {shlex.quote(body)}",
        "`kubectl -n podkit logs job/smoke` has only lines `ok`; curl, from outside, an answer",
        "`kubectl delete -f jobs/smoke.yaml`; `kubectl -n podkit delete secret smoke`",
        "minutes of a GPU",
    )


def watch_step(plan: Plan) -> Step:
    """Whether anything reads the figures: without them no engine wakes, and nobody is told."""
    query = f"{plan.prometheus_url}/api/v1/query?query=gateway_waiting_requests"
    if plan.azure:
        resource = "--resource https://prometheus.monitor.azure.com"
        asked = f"az rest --method get {resource} --url '{query}'"
        typed = f"MAIL=YOU@EXAMPLE.ORG ./azure/cluster.sh alerts\n{asked}"
        group = f"--resource-group {plan.azure.name} --name podkit"
        undo = f"`az monitor action-group delete {group}` ends the mails"
        cost = "cents for the figures"
    else:
        program = f"import urllib.request as ask; print(ask.urlopen('{query}').read().decode())"
        typed = (
            f"kubectl -n {plan.prometheus_namespace} run ask --rm -i --restart Never "
            f'--image {plan.jobs_image} -- python3 -c \\\n  "{program}"'
        )
        undo = "nothing to undo"
        cost = "nothing"
    shown = "kubectl -n podkit get configmap gateway-dashboard"
    return Step(
        "Figures and alerts",
        typed,
        "`result` has an entry for each model, minutes after the gateway runs. If it is empty, "
        "Prometheus does not read the gateway: then no engine wakes, and no alert comes",
        undo,
        cost,
        "The rules are in rules.yml: an engine that does not wake, one that is paid for and asked "
        "nothing, a queue that grows, errors. The dashboard, to be imported into Grafana: "
        f"`{shown} -o jsonpath='{{.data.podkit-gateway\\.json}}' >dashboard.json`.",
    )


def digests_step(plan: Plan) -> Step:
    again = "`Everything but the engines` and `Engines` again"
    if plan.azure:
        again = f"`./azure/cluster.sh gpu`, {again}"
    return Step(
        "The same images from now on (before others depend on it)",
        f"{ASKED}\n{plan.command} --pin-digests THIS_FOLDER/pods.json",
        "`grep -rhE ' (image|tag): ' --include='*.yaml' . | grep -v @sha256` names what is not "
        f"pinned; then {again}: `kubectl diff -k overlays/prod` shows nothing but images",
        "export again without the option",
        words="A tag can be moved by whoever owns it; a digest names the bytes that have just "
        "passed the smoke test. Do it while an engine runs: one at zero is not in the list.",
    )


def last_steps(plan: Plan) -> list[Step]:
    found = []
    if plan.find_engine("olmocr") and plan.engine != "kaito":
        found.append(
            Step(
                "A folder of PDFs (when there is one)",
                "kubectl apply -f jobs/documents.yaml\n"
                "kubectl -n podkit wait --for=condition=ready pod/documents --timeout 10m\n"
                "kubectl -n podkit cp YOUR_FOLDER documents:/documents/in\n"
                "kubectl apply -f jobs/ocr.yaml\n"
                "until kubectl -n podkit get job ocr -o jsonpath='{.status.conditions[*].type}' |\n"
                "  grep -E 'Complete|Failed'; do sleep 60; done\n"
                "kubectl -n podkit cp documents:/documents/out texts",
                "`kubectl -n podkit logs -l batch.kubernetes.io/job-name=ocr -c ocr --prefix` ends "
                "with how many PDFs are done; `Failed` means that some are not",
                "`kubectl delete -f jobs/ocr.yaml -f jobs/documents.yaml` (the PDFs and texts go "
                "with it)",
                "a GPU for each of its pods, spot where there is a pool, until all is read",
                "Each pod has an engine of its own. What a pod that was taken away had in hand is "
                "read by another, five minutes later; `texts/missing.txt` names what could not "
                "be read. A PDF is read once, by its name: for more, delete the Job, copy them "
                "there, and start it again.",
            )
        )
    if plan.azure:
        found.append(ci_step(plan.azure))
    return found
