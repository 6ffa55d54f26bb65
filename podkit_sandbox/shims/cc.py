"""Stands in for `cc`: it has a version and finds no fault with any program; it compiles nothing."""

import sys


def main() -> None:
    """Prints the version, or accepts a check of syntax unread; exits 1 when asked to compile."""
    if sys.argv[1:] == ["--version"]:
        print("cc (podkit sandbox's stand-in) 13.3.0")
    elif "-fsyntax-only" not in sys.argv:
        sys.exit("cc: the sandbox's stand-in compiles nothing")


if __name__ == "__main__":
    main()
