"""python -m podkit_gateway is podkit-gateway."""

from .cli import main

main()
