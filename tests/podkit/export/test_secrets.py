"""Secrets and certificates: each that is read is made, and whoever reads it is known there."""

from __future__ import annotations

import re
from collections.abc import Callable

import yaml

from tests.podkit.export.exports import of_kind, pod_specs

Tree = dict[str, str]


def test_every_secret_that_a_pod_reads_is_one_that_is_made(tree: Tree) -> None:
    made = {"page-key", "smoke", "hugging-face", "restore"}  # by a step of the README
    if "secrets.sh" in tree:
        made |= set(re.findall(r"^  make (\w+)", tree["secrets.sh"], re.MULTILINE))
    for provider in of_kind(tree, "SecretProviderClass").values():
        made |= {one["secretName"] for one in provider["spec"]["secretObjects"]}
    read = set(re.findall(r"secretKeyRef:\n\s+name: ([\w-]+)", "".join(tree.values())))
    assert read
    assert read <= made


def test_the_yaml_in_a_provider_names_what_its_secrets_are_made_of(
    tree_of: Callable[[str], Tree],
) -> None:
    for provider in of_kind(tree_of("aks-kaito"), "SecretProviderClass").values():
        listed = yaml.safe_load(provider["spec"]["parameters"]["objects"])["array"]
        named = {yaml.safe_load(item)["objectName"] for item in listed}
        used = set()
        for secret in provider["spec"]["secretObjects"]:
            used |= {item["objectName"] for item in secret["data"]}
        assert named == used


def test_the_vault_gets_every_secret_that_a_provider_names(tree_of: Callable[[str], Tree]) -> None:
    tree = tree_of("aks-production-stack")
    given = set(re.findall(r"\| (?:put|replace) ([a-z-]+)$", tree["azure/cluster.sh"], re.M))
    given.add("page-api-key")  # on standard input
    for provider in of_kind(tree, "SecretProviderClass").values():
        listed = yaml.safe_load(provider["spec"]["parameters"]["objects"])["array"]
        assert {yaml.safe_load(item)["objectName"] for item in listed} <= given


def test_the_vaults_certificates_are_read_by_an_account_that_the_vault_knows(
    tree_of: Callable[[str], Tree],
) -> None:
    tree = tree_of("aks-production-stack")
    (edge,) = of_kind(tree, "Gateway").values()
    for listener in edge["spec"]["listeners"]:
        told = listener["tls"]["options"]
        assert told["kubernetes.azure.com/tls-cert-keyvault-uri"].startswith(
            "https://acmeocr-vault."
        )
        account = told["kubernetes.azure.com/tls-cert-service-account"]
        found = of_kind(tree, "ServiceAccount")[account]
        assert found["metadata"]["namespace"] == edge["metadata"]["namespace"]
        assert f"podkit-edge:{account}" in tree["azure/cluster.sh"]


def test_every_provider_is_mounted_as_its_secrets_are_there_only_then(
    tree_of: Callable[[str], Tree],
) -> None:
    tree = tree_of("aks-production-stack")
    mounted = set()
    for _, spec in pod_specs(tree):
        for volume in spec.get("volumes", []):
            if "csi" in volume:
                mounted.add(volume["csi"]["volumeAttributes"]["secretProviderClass"])
    assert mounted == set(of_kind(tree, "SecretProviderClass"))


def test_by_cert_manager_each_host_has_a_certificate_and_no_other_route_is_open(
    tree_of: Callable[[str], Tree],
) -> None:
    tree = tree_of("kubernetes-plain")
    (edge,) = of_kind(tree, "Gateway").values()
    (issuer,) = of_kind(tree, "Issuer").values()
    assert edge["metadata"]["annotations"]["cert-manager.io/issuer"] == issuer["metadata"]["name"]
    assert issuer["metadata"]["namespace"] == edge["metadata"]["namespace"]
    *hosts, challenges = edge["spec"]["listeners"]
    assert [one["tls"]["certificateRefs"][0]["name"] for one in hosts] == ["tls-api", "tls-page"]
    assert challenges["protocol"] == "HTTP"
    assert challenges["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    for route in of_kind(tree, "HTTPRoute").values():
        assert route["metadata"]["namespace"] != edge["metadata"]["namespace"]
        assert route["spec"]["parentRefs"][0]["sectionName"] in ("api", "page")


def test_by_cert_manager_aks_asks_its_vault_for_no_certificate(
    tree_of: Callable[[str], Tree],
) -> None:
    routes = tree_of("aks-kaito")["overlays/prod/routes.yaml"]
    assert "keyvault" not in routes
    assert "certificate-reader" not in routes
