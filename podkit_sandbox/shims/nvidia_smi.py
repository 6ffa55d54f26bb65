"""Stands in for `nvidia-smi`, with the GPU that the sandbox's pod was given."""

import os
import sys

gpu = os.environ.get("PODKIT_SANDBOX_GPU", "NVIDIA L40S")
mib = os.environ.get("PODKIT_SANDBOX_GPU_MIB", "46068")
cuda = os.environ.get("PODKIT_SANDBOX_CUDA", "13.0")
match sys.argv[1:]:
    case []:
        print(f"| NVIDIA-SMI 580.95.05    Driver Version: 580.95.05    CUDA Version: {cuda}  |")
    case ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]:
        print(f"{gpu}, {mib}, 580.95.05")
    case ["--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits"]:
        print(f"{int(mib) * 9 // 10}, {mib}")
    case _:
        sys.exit(2)
