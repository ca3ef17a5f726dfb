import re

import pytest

from beastmode.objective import Objective
from pipelines.settings import CONFIGS, Settings, SettingsError, flat, load, locate, parse


def test_defaults_need_no_file() -> None:
    assert parse({}) == Settings()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_loads(path) -> None:
    if path.stem == "candidates":
        pytest.skip("a catalogue of candidates, not a configuration")
    assert load(path.stem).name == path.stem


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"splt": {}}, "splt: unknown key 'splt'; did you mean 'split'"),
        ({"split": {"tst_share": 0.2}}, "split.tst_share: unknown key 'tst_share'; did you mean 'test_share'"),
        ({"objective": {"per_dolar": 1}}, "objective.per_dolar: unknown key 'per_dolar'; did you mean 'per_dollar'"),
        ({"recipe": {"learning": {"leafs": 4}}}, "recipe.learning.leafs: .* did you mean 'leaves'"),
        ({"gate": {"quality_margn": 0.1}}, "did you mean 'quality_margin'"),
        ({"schedules": [{"flow": "ingest", "crn": "* * * * *"}]}, r"schedules\[0\].crn: .* did you mean 'cron'"),
        ({"ingest": {"sources": [{"pth": "x"}]}}, r"ingest.sources\[0\].pth: .* did you mean 'path'"),
        ({"zzz": 1}, "zzz: unknown key 'zzz'; known here: .*objective"),
    ],
)
def test_a_misspelt_key_is_answered_with_place_and_nearest(known, message) -> None:
    with pytest.raises(SettingsError, match=message):
        parse(known, "my.toml")


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"split": {"test_share": 2}}, r"my.toml: split.test_share: .*less than 1 \(was 2\)"),
        ({"objective": {"per_dollar": -1}}, "per_dollar = -1.0 must be zero or more"),
        ({"gate": {"level": 0.2}}, "gate.level: .*greater than 0.5"),
        ({"schedules": [{"flow": "ingest"}]}, "give either cron or interval_seconds"),
        ({"schedules": [{"flow": "ingst", "cron": "* * * * *"}]}, "schedules.0.flow: .*'ingest'"),
        ({"seed": "one"}, "seed: .*integer"),
    ],
)
def test_a_value_out_of_bounds_is_named(known, message) -> None:
    with pytest.raises(SettingsError, match=message):
        parse(known, "my.toml")


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse({"splt": {}, "sed": 1})
    assert len(str(caught.value).splitlines()) == 2


def test_overrides_are_toml_or_text(tmp_path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[objective]\nper_dollar = 1.0\n")
    found = load(file, ["objective.per_dollar=7", "paths.root=/some/where", "tracking.experiment=trial"])
    assert found.objective == Objective(per_dollar=7)
    assert str(found.paths.root) == "/some/where"
    assert (found.name, found.tracking.experiment) == ("mine", "trial")


@pytest.mark.parametrize("override", ["objective", "=3", "seed.deep=1"])
def test_an_override_that_is_none_is_refused(override, tmp_path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("seed = 1\n")
    with pytest.raises(SettingsError, match=re.escape(override)):
        load(file, [override])


def test_a_missing_configuration_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'demo'"):
        locate("demmo")


def test_a_configuration_that_is_not_there_yet_is_told_how_to_begin() -> None:
    with pytest.raises(SettingsError, match=re.escape(f"cp {CONFIGS / 'default.toml'} {CONFIGS / 'shop.toml'}")):
        locate("shop")
    with pytest.raises(SettingsError, match=r"a path that ends in \.toml"):
        locate("configs/shop")


def test_bad_toml_names_the_file(tmp_path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("seed = = 1\n")
    with pytest.raises(SettingsError, match=r"bad.toml: not valid TOML.*line 1"):
        load(file)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse({}).seed = 3  # type: ignore[misc]


def test_flat_names_every_leaf() -> None:
    known = flat(parse({"objective": {"per_dollar": 2}}))
    assert known["objective.per_dollar"] == "2.0"
    assert known["recipe.learning.leaves"] == str(parse({}).recipe.learning.leaves)


def test_a_key_of_the_world_is_checked_too() -> None:
    with pytest.raises(SettingsError, match=r"replay.world.epsilonn: .* did you mean 'epsilon'"):
        parse({"replay": {"world": {"epsilonn": 0.1}}})
