"""python -m podkit_gateway is podkit-gateway."""

from podkit_gateway.cli import main

main()
