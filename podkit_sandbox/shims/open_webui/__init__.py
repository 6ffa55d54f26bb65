"""Stands in for Open WebUI (0.12.4): a light page to sign in to and chat, and the routes that
podkit asks. The sandbox's `uv` puts it where a pod looks for the real one.

It must never pass for Open WebUI: the page says what it is and how to get the real one.
"""
