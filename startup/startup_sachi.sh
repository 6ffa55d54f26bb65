#!/usr/bin/env bash
# BIA Mistral 7B Sachi: French and Mooré by instruction. Only this model's own values; the boot package does the rest.
set -eu
export MODEL_REPO="burkimbia/BIA-MISTRAL-7B-SACHI_merged"
# A branch: put the commit here that its page on the Hub shows. A private repository needs HF_TOKEN.
export MODEL_REVISION="main"
# Where the files come from, in order: volume, s3 (a bucket of yours, docs/sources.md), hf.
export MODEL_SOURCES="volume hf"
export MODEL_SERVED_NAMES="sachi burkimbia/BIA-MISTRAL-7B-SACHI_merged"
export MODEL_MAX_LEN="8192"
export MODEL_GPU_UTILIZATION="0.90"
# 7.25 billion weights of 2 bytes; 32 layers, 8 KV heads of 128: Mistral 7B's.
export MODEL_WEIGHTS_GIB="13.50"
export MODEL_KV_BYTES_PER_TOKEN="131072"
export MODEL_PROBE="text"
export MODEL_VLLM_FLAGS=''
cd "$(dirname "$0")"
exec python3 -m boot
