"""The one way in which the pod's programs write to its log, which the laptop follows. It must never
write a secret.
"""


def say(text: str) -> None:
    """Writes one line in one piece: several threads and processes write at once."""
    print(f"podkit: {text}\n", end="", flush=True)
