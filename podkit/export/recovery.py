"""What the README of an export says about what may be lost: the nightly backup, how each part comes
back, the drill, a pause, and the end.
"""

from __future__ import annotations

from podkit.export.plan import Azure, Plan
from podkit.export.step import Step

NEW_URL = "kubectl -n podkit create secret generic restore --from-file=database-url=NEW_URL_FILE"


def backup_step() -> Step:
    return Step(
        "The first backup",
        "kubectl -n podkit create job --from=cronjob/backup first\n"
        "kubectl -n podkit wait --for=condition=complete job/first --timeout 30m",
        "`kubectl -n podkit logs job/first --all-containers` has two lines `saved`; later, "
        "`kubectl -n podkit get cronjob backup` says when it ran last",
        "`kubectl -n podkit delete job first`",
        "a disk of 20 GiB",
        "Each night at 02:17 (UTC) the gateway's database (people, keys, usage) and the chat "
        "page's data are saved on a volume of their own, and checked; the newest seven stay. "
        "Models, images and engines can be made again. The volume is in the same cluster: copy it "
        "out now and then (`jobs/backups.yaml`, below).",
    )


def recovery(plan: Plan) -> str:
    lines = ["## When something is lost", "", *copy_lines(), *chat_lines()]
    lines += azure_database(plan.azure) if plan.azure else database_lines()
    lines += drill_lines(plan)
    lines += ["## A pause, and the end", ""]
    if plan.azure:
        lines += azure_end(plan, plan.azure)
    else:
        lines.append("Undo the steps, the last one first. Then `kubectl delete namespace podkit`.")
    return "\n".join(lines) + "\n"


def copy_lines() -> list[str]:
    return [
        "A copy of all backups, here (chats and digests of keys are in it: keep it so):",
        "",
        "```",
        "kubectl apply -f jobs/backups.yaml",
        "kubectl -n podkit wait --for=condition=ready pod/backups --timeout 10m",
        "kubectl -n podkit cp backups:/backups backups",
        "kubectl delete -f jobs/backups.yaml",
        "```",
        "",
    ]


def chat_lines() -> list[str]:
    return [
        "The chats, from the newest backup. What the page had is set aside on its volume, in a "
        "folder `before-...`. For an older one: `BACKUP` in the Job's env, such as 20260131.",
        "",
        "```",
        "kubectl -n podkit scale deployment/page --replicas 0",
        "kubectl -n podkit wait --for=delete pod -l podkit.dev/part=page --timeout 5m",
        "kubectl apply -f jobs/restore-page.yaml",
        "kubectl -n podkit wait --for=condition=complete job/restore-page --timeout 30m",
        "kubectl -n podkit logs job/restore-page    # how many chats there are",
        "kubectl delete -f jobs/restore-page.yaml",
        "kubectl -n podkit scale deployment/page --replicas 1",
        "```",
        "",
    ]


def restore_lines(made: str) -> list[str]:
    """The newest backup into another database, whose address `made` puts into a Secret."""
    return [
        "```",
        made,
        "kubectl apply -f jobs/restore-database.yaml",
        "kubectl -n podkit wait --for=condition=complete job/restore-database --timeout 30m",
        "kubectl -n podkit logs job/restore-database    # names the keys",
        "kubectl delete -f jobs/restore-database.yaml",
        "kubectl -n podkit delete secret restore",
        "```",
        "",
    ]


def database_lines() -> list[str]:
    return [
        "The gateway's database, from the newest backup, into a new and empty one; NEW_URL_FILE "
        "holds its address:",
        "",
        *restore_lines(NEW_URL),
        "Then the gateway goes there:",
        "",
        "```",
        'printf \'{"stringData": {"database-url": "%s"}}\' "$(cat NEW_URL_FILE)" |',
        "  kubectl -n podkit patch secret gateway --patch-file /dev/stdin",
        "kubectl -n podkit rollout restart deployment/gateway",
        "```",
        "",
    ]


def vault_url(azure: Azure, change: str) -> str:
    return (
        f"az keyvault secret show --vault-name {azure.vault} --name gateway-database-url "
        f"--query value --output tsv |\n  sed '{change}'"
    )


def azure_database(azure: Azure) -> list[str]:
    server = f"{azure.name}-db"
    moved = vault_url(azure, f"s/@{server}\\./@{server}-restored./")
    return [
        "The gateway's database, as it was at any second of the last 14 days: a second server, and "
        "the gateway goes there. Undo: the same with the names exchanged.",
        "",
        "```",
        f"az postgres flexible-server restore --resource-group {azure.name} "
        f"--name {server}-restored --source-server {server} --restore-time 2026-01-31T12:00:00Z",
        f"{moved} | ./azure/cluster.sh database-url",
        "sleep 150    # until the cluster has read the vault again",
        "kubectl -n podkit rollout restart deployment/gateway",
        "```",
        "",
        "A second server is billed as the first is: delete the one that is not used.",
        "",
    ]


def drill_lines(plan: Plan) -> list[str]:
    told = [
        "**The drill, once a quarter.** Nothing of it touches what runs: the newest backup goes "
        "into an empty database beside the real one, and the keys in it are compared with those "
        "of the API. Write down how long it took. The chats' part is the one "
        "above, on an evening.",
        "",
    ]
    if not plan.azure:
        return [*told, *restore_lines(NEW_URL), "Then delete that database.", ""]
    azure = plan.azure
    database = f"--resource-group {azure.name} --server-name {azure.name}-db --name drill"
    keep = "kubectl -n podkit create secret generic restore --from-file=database-url=/dev/stdin"
    lines = restore_lines(f"{vault_url(azure, 's#/gateway?#/drill?#')} |\n  {keep}")
    lines.insert(1, f"az postgres flexible-server db create {database}")
    lines.insert(-2, f"az postgres flexible-server db delete {database} --yes")
    return [*told, *lines]


def azure_end(plan: Plan, azure: Azure) -> list[str]:
    lines = []
    if plan.engine != "kaito":
        lines += [
            "A pause, in which disks, addresses and the vault still cost some dollars a month:",
            "",
            "```",
            f"az aks stop --resource-group {azure.name} --name {azure.name}",
            f"az postgres flexible-server stop --resource-group {azure.name} "
            f"--name {azure.name}-db",
            "```",
            "",
            "`start` in the place of `stop` ends it. Azure starts the database again by itself "
            "after seven days.",
            "",
        ]
    lines.append("`./azure/teardown.sh` deletes all, and lists what Azure keeps all the same.")
    return lines
