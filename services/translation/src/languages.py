"""Language codes as the model itself knows them. A code it lacks would become <unk> without any
error, so it is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from worker_core.refusals import BAD_INPUT, Refusal

UNSUPPORTED_LANGUAGE = "unsupported-language"
_CODE = re.compile(r"[a-z]{2,8}_[A-Z][a-z]{3}")
"""NLLB's form of a language token, such as fra_Latn."""


def languages_of(model_folder: Path) -> frozenset[str]:
    """The language tokens in the vocabulary that the model was converted with."""
    vocabulary = json.loads((model_folder / "shared_vocabulary.json").read_text(encoding="utf-8"))
    return frozenset(token for token in vocabulary if _CODE.fullmatch(token))


class Languages:
    """The codes that may be asked for: the model's own, and aliases of them.

    `aliases` is a line of model.env: `fr=fra_Latn moore=mos_Latn|moor_Latn`. Of several targets the
    first that the model has is taken; an alias without such a target does not exist. The model's
    own codes come first.
    """

    def __init__(self, codes: frozenset[str], aliases: str) -> None:
        self.codes = codes
        self._known: dict[str, str] = {}
        for pair in aliases.split():
            alias, _, targets = pair.partition("=")
            for target in targets.split("|"):
                if target in codes:
                    self._known.setdefault(alias.casefold(), target)
        for code in codes:
            self._known[code.casefold()] = code

    def resolve(self, given: Mapping[str, object], field: str) -> str:
        """The model's code for the language in `field`. Raises Refusal with the list of all that
        are known.
        """
        name = given.get(field)
        if not isinstance(name, str) or not name:
            raise Refusal(BAD_INPUT, f"{field} must be a language code")
        code = self._known.get(name.casefold())
        if code is None:
            raise Refusal(
                UNSUPPORTED_LANGUAGE,
                f"{field}: this model has no language {name[:20]!r}",
                languages=sorted(self.codes),
                aliases=sorted(set(self._known) - {code.casefold() for code in self.codes}),
            )
        return code
