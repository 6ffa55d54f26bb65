"""What the three workers share: refusals, the model card, one log line a job, and the way into the
SDK.

It must never import podkit, and never write a text, a file or an address of a user to a log.
"""
