"""The order of a boot: what waits for what, and what is done when it ends. Every step is in a
module of its own.
"""

import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chats import Chats
from pod_log import say

from boot.chat_page import serve_page
from boot.checks import Gpu, check
from boot.configuration import Configuration, read_configuration
from boot.failures import Fatal
from boot.learned import keep, lesson, lesson_of_failure, tell
from boot.model_server import copy_cache, shared_cache, vllm_command, warm_up
from boot.packages import install
from boot.phases import Phases
from boot.reader import QueueDone, install_reader, read_workspace
from boot.services import Service, Services
from boot.sources import fetch, names_damaged_weights, set_aside
from boot.tasks import Tasks

SNAPSHOT_SECONDS = 120
"""Between two snapshots of the chats."""
LAST_SNAPSHOT_SECONDS = 4
STOP_SECONDS = 5
"""Together with the last snapshot 9 seconds: the platform kills a container 10 seconds after
SIGTERM.
"""
FAILED = 70
"""Exit status of a boot that has said why it failed; start.sh knows it."""
DONE = 71
"""Exit status of a pod that has read its workspace; start.sh knows it, too."""
TERMINATED = 143


@dataclass(frozen=True)
class Boot:
    """What the steps of one boot share."""

    configuration: Configuration
    phases: Phases
    tasks: Tasks
    services: Services
    chats: Chats


def main(environment: Mapping[str, str], startup: Path) -> int:
    """Boots and serves until the pod is to end. Returns the exit status: 143 after SIGTERM, 70
    after a failure, 71 when a queue is done.
    """
    tasks = Tasks()
    signal.signal(signal.SIGTERM, lambda *_: tasks.end())
    try:
        configuration = read_configuration(environment, startup)
    except Fatal as failure:
        failure.step = "check"
        say_fatal(failure)
        return FAILED
    chats_folder = configuration.volume / "podkit" / "open-webui" / configuration.model.name
    chats = Chats(chats_folder, configuration.local / "webui-data", configuration.pod)
    boot = Boot(configuration, Phases(), tasks, Services(configuration), chats)
    tasks.start(serve, boot)
    end = tasks.wait_for_end()
    status = TERMINATED
    if isinstance(end, QueueDone):
        say("the queue is done: the pod ends")
        status = DONE
    elif end:
        say_fatal(end)
        status = FAILED
    shut_down(boot)
    return status


def serve(boot: Boot) -> None:
    """From the checks to READY; then keeps the chats safe until the boot ends."""
    configuration = boot.configuration
    with boot.phases.phase("check"):
        gpu = check(configuration)
    if configuration.workspace:
        reader = boot.tasks.start(install_reader, boot.services, configuration)
    else:
        page = boot.tasks.start(start_page, boot)
    checkpoint = boot.tasks.start(fetch_checkpoint, boot)
    shared = shared_cache(configuration, str(gpu))
    local = configuration.local / "cache"
    cached = boot.tasks.start(copy_cache, shared, local, configuration.pod)
    with boot.phases.phase("install"):
        install(boot.services, configuration, "vllm")
    cached.result()
    try:
        vllm = load(boot, checkpoint.result())
    except Fatal as failure:
        learned = lesson_of_failure(configuration, gpu, failure)
        if learned:
            tell(learned)
            keep(configuration, learned)
        raise
    learned = lesson(configuration, gpu, "".join(vllm.last_lines))
    learned["source"] = boot.phases.source
    tell(learned)
    with boot.phases.phase("warm-up"):
        warm_up(configuration, vllm)
    boot.tasks.start(boot.services.supervise, vllm)
    if not configuration.workspace:
        boot.tasks.start(boot.services.supervise, page.result())
    with boot.phases.phase("ready"):
        announce(boot, gpu, learned)
    copy_cache(local, shared, configuration.pod)
    if configuration.workspace:
        read_workspace(boot.services, configuration, reader.result())
    while not boot.services.closing.wait(SNAPSHOT_SECONDS):
        boot.chats.keep(time.time())


def start_page(boot: Boot) -> Service:
    with boot.phases.phase("webui"):
        return serve_page(boot.services, boot.configuration, boot.chats)


def fetch_checkpoint(boot: Boot) -> Path:
    with boot.phases.phase("fetch"):
        return fetch(boot.services, boot.configuration, boot.phases)


def load(boot: Boot, checkpoint: Path) -> Service:
    """vLLM with the model. A checkpoint that it calls damaged is fetched again, once."""
    try:
        return start_vllm(boot, checkpoint)
    except Fatal as failure:
        if not names_damaged_weights(failure):
            raise
    set_aside(checkpoint)
    return start_vllm(boot, fetch_checkpoint(boot))


def start_vllm(boot: Boot, checkpoint: Path) -> Service:
    with boot.phases.phase("load"):
        vllm = boot.services.start("vllm", vllm_command(boot.configuration, checkpoint))
        try:
            vllm.wait_until_healthy(boot.configuration.api_port, boot.services.closing)
        except Fatal:
            vllm.stop(5)
            raise
    return vllm


def announce(boot: Boot, gpu: Gpu, learned: dict[str, Any]) -> None:
    """READY: the file that the watchdog waits for, a line in boots.jsonl, a table in the log."""
    configuration = boot.configuration
    (configuration.local / "ready").touch()
    line = {
        **learned,
        "gpu": str(gpu),
        "data_center": configuration.data_center,
        "seconds": boot.phases.seconds,
        "total": boot.phases.elapsed(),
    }
    keep(configuration, line)
    for name, seconds in boot.phases.seconds.items():
        say(f"boot {name:<8} {seconds:7.1f} s")
    say(f"boot {'in all':<8} {boot.phases.elapsed():7.1f} s")


def say_fatal(failure: BaseException) -> None:
    """The one line about why the pod ends, which the laptop shows."""
    if not isinstance(failure, Fatal):
        failure = Fatal(repr(failure), "report this with the log", "boot")
    say(f"fatal step={failure.step} reason={failure.reason} fix={failure.fix}")


def shut_down(boot: Boot) -> None:
    """Saves the chats, then ends every program."""
    boot.services.close()
    last = threading.Thread(target=boot.chats.keep, args=(time.time(), True), daemon=True)
    last.start()
    last.join(LAST_SNAPSHOT_SECONDS)
    boot.services.stop_all(STOP_SECONDS)
