"""`python -m podkit`, which is what lib/bootstrap.sh runs."""

from podkit.cli import main

main()
