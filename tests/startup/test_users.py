"""vLLM, the chat page and the watchdog as different users, where the container allows it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import users
from boot.configuration import Configuration, read_configuration
from boot.services import Services
from users import USERS, user_for

from tests.startup.configurations import STARTUP, WHOLE, configured

pytestmark = pytest.mark.slow

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start other users' programs")


@pytest.fixture(autouse=True)
def told_again() -> None:
    users._say_once.cache_clear()


@pytest.fixture
def container() -> Iterator[Configuration]:
    """A pod's disk that every user may enter, as a container's is."""
    folder = Path(tempfile.mkdtemp(prefix="podkit-users-"))
    folder.chmod(0o755)
    shutil.copytree(STARTUP, folder / "startup", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "local").mkdir()
    environment = {**WHOLE, "PODKIT_LOCAL": str(folder / "local")}
    yield read_configuration(environment, folder / "startup")
    shutil.rmtree(folder)


def output(configuration: Configuration, name: str, script: str) -> str:
    """What a program of this name prints; its status does not count."""
    services = Services(configuration)
    service = services.start(name, ["/bin/sh", "-c", f"{script}; exit 0"])
    service.process.wait(10)
    service.failure()
    return "".join(service.last_lines)


@as_root
def test_each_service_has_a_user_a_group_and_a_home_of_its_own(container: Configuration) -> None:
    for name in ("vllm", "webui"):
        home = container.local / f"home-{name}"
        told = output(container, name, "id -u; id -g; id -G; echo $HOME; touch $HOME/mine")
        number = str(USERS[name].number)
        assert told.split() == [number, number, number, str(home)]
        assert (home / "mine").stat().st_uid == USERS[name].number
    assert output(container, "hf", "id -u").strip() == "0"


@as_root
def test_a_hole_in_the_page_reads_no_key_and_stops_nobody(container: Configuration) -> None:
    """The pod's key is in this process's environment, as it is in the watchdog's."""
    victim = subprocess.Popen(["/bin/sleep", "60"], env={"RUNPOD_API_KEY": "rp_secret"})
    try:
        script = (
            f"cat /proc/{victim.pid}/environ; kill -9 {victim.pid}; "
            "cat /proc/1/environ; tr '\\0' '\\n' < /proc/self/environ"
        )
        told = output(container, "webui", script)
        assert "rp_secret" not in told
        assert "hf_secret" not in told
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


@as_root
def test_the_page_and_vllm_read_nothing_of_one_another(container: Configuration) -> None:
    (container.local / "webui-data").mkdir()
    (container.local / "webui-data" / "webui.db").write_text("the chats")
    assert "the chats" in output(container, "webui", f"cat {container.local}/webui-data/webui.db")
    assert "the chats" not in output(
        container, "vllm", f"cat {container.local}/webui-data/webui.db"
    )
    kept = container.local / "cache" / "compiled"
    output(container, "vllm", f"echo kernel > {kept}")
    assert kept.read_text() == "kernel\n"
    assert "kernel" not in output(container, "webui", f"cat {kept}")


@as_root
def test_the_watchdog_goes_on_as_its_own_user(container: Configuration) -> None:
    script = (
        "import os, sys; from pathlib import Path; from users import become; "
        "become('watchdog', [Path(sys.argv[1])]); print(os.getuid(), os.getgid(), os.getgroups())"
    )
    command = ["/usr/bin/python3", "-c", script, str(container.local)]
    told = subprocess.check_output(command, text=True, cwd=container.startup)
    assert told.splitlines()[-1] == "20003 20003 []"


@as_root
def test_what_the_user_cannot_use_keeps_the_program_with_root_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o700)
    assert output(configured(tmp_path), "vllm", "id -u").strip() == "0"
    told = f"podkit: vllm has no user of its own: user 20001 cannot use {tmp_path / 'local'}\n"
    assert told in capsys.readouterr().out


def test_in_a_container_of_an_ordinary_user_it_says_so_once_and_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert user_for("webui", [], is_root=False) is None
    assert user_for("webui", [], is_root=False) is None
    told = "podkit: webui has no user of its own: the container did not start as root\n"
    assert capsys.readouterr().out == told


def test_programs_of_the_boot_itself_stay_with_its_user(capsys: pytest.CaptureFixture[str]) -> None:
    assert user_for("hf", [], is_root=True) is None
    assert capsys.readouterr().out == ""
