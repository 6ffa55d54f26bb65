"""What a client may call a language, with models that name Mooré in different ways."""

from __future__ import annotations

import sys

import pytest

from .workers import SERVICES

sys.path[:0] = [str(SERVICES), str(SERVICES / "translation/src")]

from languages import Languages  # noqa: E402
from worker_core.refusals import Refusal  # noqa: E402
from worker_core.settings import read_env_file  # noqa: E402

ALIASES = read_env_file(SERVICES / "translation/model.env")["LANGUAGE_ALIASES"]
NLLB = Languages(frozenset({"fra_Latn", "mos_Latn"}), ALIASES)


@pytest.mark.parametrize("code", ["mos_Latn", "moor_Latn", "moo_Latn"])
def test_moore_is_found_whatever_code_a_fine_tune_has_given_it(code: str) -> None:
    languages = Languages(frozenset({"fra_Latn", code}), ALIASES)
    for name in ("moore", "Mooré", "MOS", code, code.upper()):
        assert languages.resolve({"tgt_lang": name}, "tgt_lang") == code


def test_the_codes_of_other_guides_mean_nllbs_own() -> None:
    for name in ("moo_Latn", "moor_Latn"):
        assert NLLB.resolve({"tgt_lang": name}, "tgt_lang") == "mos_Latn"


def test_a_models_own_code_is_never_an_alias_of_another() -> None:
    both = Languages(frozenset({"mos_Latn", "moo_Latn"}), ALIASES)
    assert both.resolve({"tgt_lang": "moo_Latn"}, "tgt_lang") == "moo_Latn"
    assert both.resolve({"tgt_lang": "moore"}, "tgt_lang") == "mos_Latn"


def test_what_the_model_lacks_is_refused_with_all_that_it_has() -> None:
    with pytest.raises(Refusal) as told:
        NLLB.resolve({"tgt_lang": "en"}, "tgt_lang")
    assert told.value.code == "unsupported-language"
    assert told.value.details["languages"] == ["fra_Latn", "mos_Latn"]
    assert "en" not in told.value.details["aliases"]
