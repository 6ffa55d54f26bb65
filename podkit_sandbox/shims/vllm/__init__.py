"""Stands in for `vllm serve` (0.32.0): its flags, middleware, checks and shapes of answers, with
OCR for a model.

It must never pass for a model: every completion has the fingerprint `podkit-sandbox`, and a
question without an image is answered by who is here. It listens on loopback only and fetches
nothing.
"""
