"""Stands in for `cc`, of which a pod only wants to know that it is there; it compiles nothing."""

import sys

if sys.argv[1:] != ["--version"]:
    sys.exit("cc: the sandbox's stand-in compiles nothing")
print("cc (podkit sandbox's stand-in) 13.3.0")
