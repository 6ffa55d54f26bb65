"""Stands in for `nvidia-smi`, with the GPU that the sandbox's pod was given."""

import os
import sys

QUERY = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]


def main() -> None:
    """Prints the header, or the one query that a pod's start asks; exits 2 on any other."""
    gpu = os.environ.get("PODKIT_SANDBOX_GPU", "NVIDIA L40S")
    mib = os.environ.get("PODKIT_SANDBOX_GPU_MIB", "46068")
    cuda = os.environ.get("PODKIT_SANDBOX_CUDA", "13.0")
    driver = "580.95.05" if float(cuda) >= 13 else "570.124.06"
    if sys.argv[1:] == QUERY:
        print(f"{gpu}, {mib}, {driver}")
    elif sys.argv[1:]:
        sys.exit(2)
    else:
        print(f"| NVIDIA-SMI {driver}    Driver Version: {driver}    CUDA Version: {cuda}  |\n| 0  {gpu}  {mib}MiB |")


if __name__ == "__main__":
    main()
