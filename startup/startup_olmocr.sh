#!/usr/bin/env bash
# olmOCR 2: page images to Markdown. Only this model's own values; the boot package does the rest.
set -eu
export MODEL_REPO="allenai/olmOCR-2-7B-1025-FP8"
export MODEL_REVISION="19133a8e683f7203f37c49000377c11a896c8d9b"
# Where the files come from, in order: volume, s3 (a bucket of yours, docs/sources.md), hf.
export MODEL_SOURCES="volume hf"
export MODEL_SERVED_NAMES="olmocr allenai/olmOCR-2-7B-1025-FP8"
export MODEL_MAX_LEN="16384"
export MODEL_GPU_UTILIZATION="0.90"
export MODEL_WEIGHTS_GIB="9.37"
export MODEL_KV_BYTES_PER_TOKEN="57344"
export MODEL_PROBE="image"
# Split at white space; the JSON is without any. 1,658,944 pixels: the toolkit's 1288 px pages, unscaled.
export MODEL_VLLM_FLAGS='--limit-mm-per-prompt {"image":1,"video":0} --mm-processor-kwargs {"max_pixels":1658944}
  --mm-processor-cache-gb 0'
cd "$(dirname "$0")"
exec python3 -m boot
