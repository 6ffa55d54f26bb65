"""The real Open WebUI's limit on sign-ins, which a stranger can use up for everybody."""

from __future__ import annotations

import pytest

from tests.browser.real_page import RealPage

pytestmark = pytest.mark.slow


def test_a_stranger_who_tries_passwords_does_not_make_wait_fail(real_page: RealPage) -> None:
    served = real_page.served()
    answers = [served.sign_in(f"guess {number}").status_code for number in range(20)]
    assert answers[-1] == 429
    waited = real_page.clone.run("podkit.sh", "wait", "--sandbox")
    assert waited.returncode == 0, waited.stderr
    assert waited.stdout.startswith(served.pod)
    assert "the chat page takes no sign-in at the moment" in waited.stderr
