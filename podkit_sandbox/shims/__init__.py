"""Stand-ins for what needs a GPU or a gigabyte download; each module is one command."""
