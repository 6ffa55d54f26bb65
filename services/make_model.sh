#!/bin/sh
# Makes /model when an image is built: from a folder given in the build context, or from the Hub.
set -eu
service=/app/$1
if [ -f "$service/given_model/model.json" ]; then
  cp -R "$service/given_model" /model
  PYTHONPATH=/app python3 -m worker_core.model_card /model
else
  python3 -m venv /convert
  /convert/bin/pip install --no-cache-dir --require-hashes -r "$service/requirements-convert.txt"
  /convert/bin/python "$service/convert.py" /model
fi
