"""Stand-ins for what needs a GPU or a gigabyte download; each module with a `main` is one command."""
