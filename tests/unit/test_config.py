from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tasks.config import (
    Chunking,
    CorpusSettings,
    EvaluateSettings,
    GeneratorModel,
    ModelsSettings,
    Price,
    ReleaseSettings,
    Retrieval,
    ServicesSettings,
    Settings,
    load_project,
    load_settings,
    settings_digest,
)
from tasks.errors import ConfigError
from tasks.gate.policy import load_policy

ROOT = Path(__file__).resolve().parents[2]
RELEASE = "prompt: answer\nmodel: tiny\nembedding: mini\n"


class Values(Settings):
    values: dict[str, bool | int | float | str | None]


def refuse(tmp_path: Path, text: str | bytes, model: Any = ReleaseSettings) -> str:
    path = tmp_path / "file.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, model)
    assert caught.value.next_step
    return caught.value.message.replace(str(path), "file.yaml")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("corpus", CorpusSettings),
        ("models", ModelsSettings),
        ("release", ReleaseSettings),
        ("baseline", ReleaseSettings),
        ("demo/worse", ReleaseSettings),
        ("evaluate", EvaluateSettings),
        ("services", ServicesSettings),
    ],
)
def test_every_shipped_file_loads(name, model):
    assert load_settings(ROOT / "configs" / f"{name}.yaml", model)


def test_every_shipped_yaml_file_is_read_by_some_test():
    read = {"corpus", "models", "release", "baseline", "worse", "evaluate", "services", "gate"}
    files = [path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name != "prompts"]
    assert {path.stem for path in files} == read
    assert load_policy(ROOT / "configs" / "gate.yaml")


@pytest.mark.parametrize("release", ["release", "baseline", "demo/worse"])
def test_the_shipped_files_fit_each_other(release):
    project = load_project(ROOT, release=ROOT / "configs" / f"{release}.yaml")
    assert (project.prompts / f"{project.release.prompt}.yaml").is_file()
    assert (project.prompts / f"{project.evaluate.judge.prompt}.yaml").is_file()
    assert (project.root / project.evaluate.suite).is_file()
    assert project.gate_policy.is_file()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"There is no file '.*none\.yaml'"):
        load_settings(tmp_path / "none.yaml", ReleaseSettings)


def test_a_directory_in_place_of_a_file_is_no_traceback(tmp_path):
    with pytest.raises(ConfigError, match="can't be read"):
        load_settings(tmp_path, ReleaseSettings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\n  b: 2\n", "file.yaml:2: this is not YAML"),
        ("a: [1\n", "file.yaml:2: this is not YAML"),
        ("prompt: a\nprompt: b\n", "file.yaml:2: this is not YAML: found duplicate key"),
        ("--- {}\n--- {}\n", "file.yaml:2: this is not YAML"),
        ("a: \x00\n", "file.yaml can't be read"),
        (b"a: \xff\n", "file.yaml is not UTF-8"),
        ("", "file.yaml:1: expected a mapping of settings, found NoneType"),
        ("# nothing\n", "expected a mapping of settings, found NoneType"),
        ("- a\n", "expected a mapping of settings, found CommentedSeq"),
        ("word\n", "expected a mapping of settings, found str"),
    ],
)
def test_what_is_no_mapping_of_settings_is_refused_with_its_line(tmp_path, text, said):
    assert said in refuse(tmp_path, text)


def test_each_wrong_field_is_named_with_line_value_and_what_was_expected(tmp_path):
    said = refuse(tmp_path, RELEASE + "retrieval:\n  kind: dense\n  top_k: 0\ncolour: red\n")
    assert "file.yaml has 2 wrong setting(s)" in said
    assert "file.yaml:6: retrieval.top_k: Input should be greater than 0 (found 0)" in said
    assert "file.yaml:7: colour: Extra inputs are not permitted (found 'red')" in said


def test_a_missing_field_has_the_line_of_what_lacks_it(tmp_path):
    assert "file.yaml:1: model: Field required" in refuse(tmp_path, "prompt: a\nembedding: b\n")


@pytest.mark.parametrize(
    ("source", "line", "field"),
    [
        ("kind: folder, name: notes", 2, "path: Field required"),
        ("kind: beir\n    name: b\n    path: x\n    bogus: 1", 5, "bogus: Extra"),
        ("kind: python\n    name: b\n    packages:\n    - 3", 5, "packages.0: Input"),
        ("kind: carrier-pigeon", 2, "found {'kind': 'carrier-pigeon'}"),
    ],
)
def test_a_wrong_field_of_a_list_entry_has_its_own_line(tmp_path, source, line, field):
    entry = f"{{{source}}}" if "\n" not in source else source
    said = refuse(tmp_path, f"sources:\n  - {entry}\n", CorpusSettings)
    assert f"file.yaml:{line}: sources.0" in said
    assert field in said


def test_a_kind_that_is_called_like_a_field_does_not_move_the_line(tmp_path):
    text = (
        "embeddings: {}\n"
        "generators:\n"
        "  tiny:\n"
        "    sources:\n"
        "      - kind: path\n"
        "        path: /weights\n"
        "        bogus: 1\n"
        "    format: directory\n"
        "    context_length: 64\n"
        "    price: {machine_hour: 1}\n"
    )
    said = refuse(tmp_path, text, ModelsSettings)
    assert "file.yaml:7: generators.tiny.sources.0.path.bogus: Extra" in said
    said = refuse(
        tmp_path, text.replace("        bogus: 1\n", "").replace("/weights", "3"), ModelsSettings
    )
    assert "file.yaml:6: generators.tiny.sources.0.path.path: Input" in said


def test_numbers_that_are_none_are_refused(tmp_path):
    for number in (".nan", ".inf"):
        said = refuse(
            tmp_path,
            f"temperature: {number}\n",
            type(GeneratorModel.model_fields["sampling"].default),
        )
        assert "file.yaml:1: temperature" in said


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("&anchor true", True),
        ("'true'", "true"),
        ("12", 12),
        ("0x1F", 31),
        ("&anchor 12", 12),
        ("1.50", 1.5),
        ("null", None),
        ('"3"', "3"),
        ("|\n    two\n    lines\n", "two\nlines\n"),
    ],
)
def test_a_plain_value_arrives_as_what_it_says(tmp_path, text, value):
    path = tmp_path / "file.yaml"
    path.write_text(f"values:\n  x: {text}\n")
    found = load_settings(path, Values).values["x"]
    assert found == value
    assert type(found) is type(value)


def test_what_only_the_reader_of_lines_can_read_is_read(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("{values: {x: http://host:80/v1}}\n")
    with pytest.raises(YAMLError):
        YAML(typ="safe").load(path.read_text())
    assert load_settings(path, Values).values == {"x": "http://host:80/v1"}


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True),
        st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]))
        | st.none(),
        max_size=5,
    )
)
def test_what_is_written_as_yaml_is_what_is_read(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "values.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump({"values": values}, file)
    found = load_settings(path, Values).values
    assert found == values
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in values.items()
    }


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        Retrieval().top_k = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("model", "values", "said"),
    [
        (Chunking, {"max_tokens": 30, "overlap_tokens": 16}, "more than half of max_tokens 30"),
        (Price, {}, "give machine_hour, or"),
        (Price, {"input_per_million": 1}, "give machine_hour, or"),
        (
            Price,
            {"machine_hour": 1, "input_per_million": 1, "output_per_million": 1},
            "not both",
        ),
        (
            CorpusSettings,
            {"sources": [{"kind": "python", "name": "a", "packages": ["json"]}] * 2},
            r"source names must differ, found \['a', 'a'\]",
        ),
        (CorpusSettings, {"sources": []}, "at least 1 item"),
        (Retrieval, {"top_k": 101}, "less than or equal to 100"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(model, values, said):
    with pytest.raises(ValueError, match=said):
        model.model_validate(values)


# --- files that contradict each other -----------------------------------------------------------


@pytest.fixture
def project(tmp_path):
    """A directory with a copy of the shipped files, and a way to change one."""
    (tmp_path / "configs").mkdir()
    for path in (ROOT / "configs").glob("*.yaml"):
        (tmp_path / "configs" / path.name).write_bytes(path.read_bytes())

    def change(name: str, old: str, new: str) -> Path:
        path = tmp_path / "configs" / f"{name}.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        return tmp_path

    return change


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("release", "model: qwen2.5-coder-0.5b-instruct", "model: gpt", "no 'gpt' under"),
        ("evaluate", "model: qwen2.5-coder-0.5b-instruct", "model: judy", "no 'judy' under"),
        ("release", "embedding: all-minilm-l6-v2", "embedding: word2vec", "no 'word2vec' under"),
        ("release", "max_tokens: 200", "max_tokens: 257", "257, but 'all-minilm-l6-v2' reads"),
    ],
)
def test_a_release_that_does_not_fit_the_models_is_refused(project, name, old, new, said):
    with pytest.raises(ConfigError, match=said) as caught:
        load_project(project(name, old, new))
    assert caught.value.next_step


def test_an_unknown_model_comes_with_the_names_that_there_are(project):
    root = project("release", "model: qwen2.5-coder-0.5b-instruct", "model: gpt")
    with pytest.raises(ConfigError, match=r"it has .*'smollm2-135m-instruct'"):
        load_project(root)


def test_another_release_file_takes_the_place_of_the_wanted_one(project):
    root = project("release", "model: qwen2.5-coder-0.5b-instruct", "model: gpt")
    project = load_project(root, release=root / "configs" / "baseline.yaml")
    assert project.release.prompt == "baseline"


def test_the_digest_of_settings_is_that_of_their_values():
    assert settings_digest("r", Retrieval()) == settings_digest("r", Retrieval(top_k=4))
    assert settings_digest("r", Retrieval()) != settings_digest("r", Retrieval(top_k=5))
    assert Retrieval().parameters() == {"kind": "dense", "top_k": 4}


def test_a_retrieval_is_described_by_the_parameters_that_its_kind_uses():
    hybrid = Retrieval(kind="hybrid", rrf_k=30, filters={"source": ("faq",)})
    assert hybrid.parameters() == {
        "kind": "hybrid",
        "top_k": 4,
        "rrf_k": 30,
        "candidates": 50,
        "filters": {"source": ["faq"]},
    }
    assert Retrieval(rrf_k=30, candidates=9).parameters() == Retrieval().parameters()
    assert Retrieval(rerank="m").parameters()["candidates"] == 50


def test_a_filter_without_a_value_is_refused():
    with pytest.raises(ValueError, match=r"\['source'\] allow no value"):
        Retrieval(filters={"source": ()})
