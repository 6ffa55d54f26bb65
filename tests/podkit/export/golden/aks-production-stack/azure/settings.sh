# shellcheck shell=bash disable=SC2034
# What cluster.sh and teardown.sh read.
NAME=acmeocr
GROUP=acmeocr
LOCATION=eastus
REGISTRY=acmeocracr
VAULT=acmeocr-vault
HOST=api.example.org
PAGE_HOST=chat.example.org
GPU=a100
GPU_SIZE=Standard_NC24ads_A100_v4
GPU_FAMILY=StandardNCADSA100v4Family
GPU_CORES=24
GPU_MOST=8
POD_NETWORK=10.244.0.0/16
DATABASE_NETWORK=10.226.16.0/24
VERSION=0.1.0
