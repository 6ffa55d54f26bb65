#!/usr/bin/env bash
# Qwen3-VL 8B Instruct: chat about images, with tool calls. Only this model's own values; the boot package does the rest.
set -eu
export MODEL_REPO="Qwen/Qwen3-VL-8B-Instruct-FP8"
export MODEL_REVISION="9cdc6310a8cb770ce18efaf4e9935334512aee45"
# Where the files come from, in order: volume, s3 (a bucket of yours, docs/sources.md), hf.
export MODEL_SOURCES="volume hf"
export MODEL_SERVED_NAMES="qwen3-vl-8b Qwen/Qwen3-VL-8B-Instruct-FP8"
export MODEL_MAX_LEN="32768"
export MODEL_GPU_UTILIZATION="0.90"
export MODEL_WEIGHTS_GIB="9.86"
export MODEL_KV_BYTES_PER_TOKEN="147456"
export MODEL_PROBE="image"
# Split at white space; the JSON is without any.
export MODEL_VLLM_FLAGS='--limit-mm-per-prompt {"image":4,"video":0} --mm-processor-kwargs {"max_pixels":4194304}
  --enable-auto-tool-choice --tool-call-parser hermes'
cd "$(dirname "$0")"
exec python3 -m boot
