"""How a pod is reached: where its URLs, key and login come from."""

from __future__ import annotations

from podkit.pods.access import access
from tests.podkit.pods.pages import PROXY, WHERE
from tests.podkit.samples import CLIENT_KEY, PASSWORD, POD, pod


def test_a_pod_is_reached_through_the_providers_proxy_with_its_own_key_and_login() -> None:
    assert WHERE.api_url == f"https://{POD['id']}-8000.proxy.runpod.net/v1"
    assert WHERE.webui_url == f"https://{POD['id']}-3000.proxy.runpod.net"
    assert WHERE.key.reveal() == CLIENT_KEY
    assert WHERE.email == "admin@podkit.local"
    assert WHERE.password.reveal() == PASSWORD
    assert WHERE.model == "olmocr"
    assert CLIENT_KEY not in repr(WHERE)
    assert PASSWORD not in repr(WHERE)


def test_in_the_sandbox_the_urls_are_known_once_the_ports_are() -> None:
    template = "http://127.0.0.1:{public_port}"
    assert access(pod(), template).api_url == "http://127.0.0.1:41000/v1"
    assert access(pod(), template).webui_url == "http://127.0.0.1:41001"
    early = access(pod(runtime=None), template)
    assert early.api_url == ""
    assert early.webui_url == ""


def test_a_pod_without_podkits_environment_has_empty_access() -> None:
    where = access(pod(env={}), PROXY)
    assert where.model == ""
    assert where.email == ""
    assert not where.key
    assert not where.password
