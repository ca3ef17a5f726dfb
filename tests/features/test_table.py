"""What a table says of its requests beside what it was given."""

from dataclasses import replace

import numpy as np
import pytest

from features.table import Table
from features.worlds.synthetic import SyntheticSettings, outcomes


@pytest.fixture(scope="module")
def table() -> Table:
    return outcomes(SyntheticSettings(prompts=20), 1)[0]


def test_a_token_is_four_characters_of_the_conversation(table: Table) -> None:
    texts = [len(text) / 4 for text in table.texts]
    np.testing.assert_array_equal(table.expected_tokens, texts)
    assert not np.array_equal(table.expected_tokens, table.input_tokens)
    chars = np.arange(20) * 100.0
    np.testing.assert_array_equal(replace(table, prompt_chars=chars).expected_tokens, chars / 4)


def test_where_no_characters_are_known_the_provider_has_counted(table: Table) -> None:
    chars = np.where(np.arange(20) < 10, np.nan, 400.0)
    found = replace(table, prompt_chars=chars).expected_tokens
    np.testing.assert_array_equal(found, np.where(np.arange(20) < 10, table.input_tokens, 100.0))
    blank = replace(table, texts=("",) * 20)
    np.testing.assert_array_equal(blank.expected_tokens, table.input_tokens)


def test_characters_are_taken_with_their_rows(table: Table) -> None:
    chars = np.arange(20) * 4.0
    taken = replace(table, prompt_chars=chars).take([3, 5])
    assert taken.expected_tokens.tolist() == [3.0, 5.0]
    assert table.take([3]).prompt_chars is None
    with pytest.raises(ValueError, match=r"prompt_chars has shape \(2,\), expected \(20,\)"):
        replace(table, prompt_chars=chars[:2])
