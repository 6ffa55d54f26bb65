"""Holds each JSON document of standard input, one a line, against the schemas of a version of
Kubernetes; prints what is wrong. Runs in an environment with kubernetes-validate.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    import kubernetes_validate  # type: ignore[import-not-found]

    version = sys.argv[1]
    for line in sys.stdin:
        told = json.loads(line)
        try:
            kubernetes_validate.validate(told, version, strict=True)
        except Exception as error:
            print(f"{told['kind']} {told['metadata']['name']}: {error}")


if __name__ == "__main__":
    main()
