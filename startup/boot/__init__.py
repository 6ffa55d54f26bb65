"""From an empty pod to a served model: check, install, fetch, serve, prove, supervise; side by side
where that can be.

It must never leave a failure without one line that says what to do. It exits with 70 then, and
start.sh ends the pod. Reading order: __main__, sequence, then the steps: checks, sources, packages,
chat_page, model_server.
"""
