"""`python -m podkit`, which is what lib/bootstrap.sh runs."""

from podkit.commands.cli import main

main()
