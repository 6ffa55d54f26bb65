"""`python -m podkit_sandbox --dir DIR`: the sandbox's own process, which control.start begins."""

import argparse
import json
import sys
from pathlib import Path

from podkit_sandbox.faults import Scenario
from podkit_sandbox.server import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="podkit_sandbox", description="A RunPod on this machine.")
    parser.add_argument("--dir", type=Path, required=True, help="folder for everything that the sandbox writes")
    parser.add_argument("--scenario", type=Path, help="JSON file of faults and stock, see docs/sandbox.md")
    parser.add_argument("--real-webui", action="store_true", help="install and run the real Open WebUI in pods")
    options = parser.parse_args()
    try:
        scenario = Scenario.parse(json.loads(options.scenario.read_text()) if options.scenario else {})
    except (OSError, ValueError) as error:
        sys.exit(f"{options.scenario}: {error}")
    serve(options.dir.resolve(), scenario, options.real_webui)


if __name__ == "__main__":
    main()
