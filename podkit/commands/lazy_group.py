"""A group of commands that loads a command's module when it is called, or its own help is asked.

Listing what there is must load none: `./list_pods.sh` would wait for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import click


@dataclass(frozen=True)
class Entry:
    """A command: its name, its line in the list, and the module of this package that has it, as a
    function of the module's own name; without one it is that of the command's name.
    """

    name: str
    summary: str
    module: str = ""

    def load(self) -> click.Command:
        name = self.module or self.name
        return cast(click.Command, getattr(import_module(f"podkit.commands.{name}"), name))


class LazyGroup(click.Group):
    """Shows its commands in `sections`, by what they are for."""

    def __init__(
        self,
        *arguments: Any,
        sections: Mapping[str, Sequence[Entry]],
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._sections = sections
        self._entries: dict[str, Entry] = {}
        for entries in sections.values():
            for entry in entries:
                self._entries[entry.name] = entry

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self._entries)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        entry = self._entries.get(name)
        return entry.load() if entry else None

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, entries in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(entry.name, entry.summary) for entry in entries])
