from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import codefilter
from codefilter.benchmarks import BENCHMARKS
from codefilter.config import (
    ENVIRONMENT_PREFIX,
    NOT_SETTINGS,
    Settings,
    check_setting,
    load_settings,
    user_config_file,
)
from codefilter.errors import ConfigError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_without_any_source(tmp_path: Path) -> None:
    assert load_settings(tmp_path) == Settings()


def test_later_sources_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        user_config_file(), "num_candidates = 1\nprefix_tokens = 1\nsuffix_tokens = 1\nmax_new_tokens = 1\n"
    )
    write(tmp_path / "codefilter.toml", "prefix_tokens = 2\nsuffix_tokens = 2\nmax_new_tokens = 2\n")
    monkeypatch.setenv("CODEFILTER_SUFFIX_TOKENS", "3")
    monkeypatch.setenv("CODEFILTER_MAX_NEW_TOKENS", "3")
    settings = load_settings(tmp_path, overrides={"max_new_tokens": 4, "num_candidates": None})
    found = (settings.num_candidates, settings.prefix_tokens, settings.suffix_tokens, settings.max_new_tokens)
    assert found == (1, 2, 3, 4)
    assert load_settings(tmp_path, defaults={"prefix_tokens": 5, "cross_file_tokens": 6}) == replace(
        settings, max_new_tokens=3, cross_file_tokens=6
    )


def test_pyproject_counts_where_there_is_no_file_of_our_own(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[tool.codefilter]\nnum_candidates = 3\n")
    assert load_settings(tmp_path).num_candidates == 3
    write(tmp_path / "codefilter.toml", "prefix_tokens = 9\n")
    assert load_settings(tmp_path) == Settings(prefix_tokens=9)


def test_a_broken_pyproject_that_does_not_mention_us_is_not_our_business(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[project\n")
    assert load_settings(tmp_path) == Settings()


def test_config_file_replaces_both_files_and_is_trusted(tmp_path: Path) -> None:
    write(user_config_file(), "num_candidates = 1\n")
    write(tmp_path / "codefilter.toml", "prefix_tokens = 2\n")
    mine = write(tmp_path / "mine.toml", 'model = "/models/mine"\n')
    assert load_settings(tmp_path, config_file=mine) == Settings(model="/models/mine")


def test_zero_lines_means_no_limit_in_every_source(tmp_path: Path) -> None:
    write(tmp_path / "codefilter.toml", "max_lines = 0\n")
    assert load_settings(tmp_path).max_lines is None
    assert load_settings(environment={"CODEFILTER_MAX_LINES": "0"}).max_lines is None
    assert load_settings(tmp_path, overrides={"max_lines": 5}).max_lines == 5
    assert load_settings(overrides={"max_lines": 0}).max_lines is None
    assert load_settings(overrides={"num_candidates": 0}).num_candidates == 0


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("num_candidats = 3", "unknown setting 'num_candidats'", "Did you mean num_candidates?"),
        ("num-candidates = 3", "unknown setting 'num-candidates'", "Did you mean num_candidates?"),
        ("zzz = 3", "unknown setting 'zzz'", "Settings are: "),
        ("num_candidates = 'ten'", "must be a whole number, not 'ten'", "The default is 0."),
        ("num_candidates = 1.5", "must be a whole number, not 1.5", "The default is 0."),
        ("num_candidates = true", "must be a whole number, not True", "The default is 0."),
        ("num_candidates = -1", "num_candidates", "From 0 to 1000."),
        ("prefix_tokens = 0", "prefix_tokens", "From 1 to"),
        ("filter = 3", "must be text, not 3", "The default is 'classifier'."),
        ("filter = ' '", "filter", "empty"),
        ("dtype = 'int8'", "dtype", "float32, bfloat16"),
        ("[filter]\nname = 'all'", "must be text", "The default is 'classifier'."),
        ("a = = 1", "not valid TOML", "line"),
        ("num_candidates = 3\nfilter = all", "(at line 2", "quotes"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_the_files_name(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    path = write(tmp_path / "codefilter.toml", text)
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path)
    said = f"{caught.value.message} {caught.value.hint}"
    assert str(path) in caught.value.message
    assert message in said
    assert hint in said
    assert "\n" not in said


@pytest.mark.parametrize("name", ["codefilter.toml", "pyproject.toml"])
@pytest.mark.parametrize(
    "value",
    ["[" * 3_000 + "]" * 3_000, "1" * 5_000, "0x" + "f" * 5_000, f"[0x{'f' * 5_000}]"],
    ids=["brackets", "decimal", "hexadecimal", "list"],
)
@pytest.mark.parametrize("setting", ["num_candidates", "filter"])
def test_what_is_too_long_or_deep_for_python_is_an_error_like_others(
    tmp_path: Path, name: str, value: str, setting: str
) -> None:
    table = "[tool.codefilter]\n" if name == "pyproject.toml" else ""
    path = write(tmp_path / name, f"{table}{setting} = {value}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path)
    assert str(path) in caught.value.message
    assert len(caught.value.message) < 500
    assert caught.value.hint


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "codefilter.toml").write_bytes(b"filter = '\xff'\n")
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings(tmp_path)


def test_a_byte_order_mark_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "codefilter.toml").write_text("max_lines = 3\n", encoding="utf-8-sig")
    assert load_settings(tmp_path).max_lines == 3


def test_a_missing_config_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration file at .*absent\.toml"):
        load_settings(tmp_path, config_file=tmp_path / "absent.toml")


def test_tool_codefilter_that_is_not_a_table(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[tool]\ncodefilter = 3\n")
    with pytest.raises(ConfigError, match=r"tool\.codefilter is not a table"):
        load_settings(tmp_path)


@pytest.mark.parametrize("text", ["ten", "", "1e3", "١٢", "1_0", "99999999999999999999"])
def test_environment_variables_are_typed(text: str) -> None:
    with pytest.raises(ConfigError, match="environment variable CODEFILTER_NUM_CANDIDATES"):
        load_settings(environment={"CODEFILTER_NUM_CANDIDATES": text})


def test_unknown_environment_variables_are_errors() -> None:
    with pytest.raises(ConfigError, match="CODEFILTER_MODLE") as caught:
        load_settings(environment={"CODEFILTER_MODLE": "x", "PATH": "/bin"})
    assert caught.value.hint == "Did you mean model?"


@pytest.mark.parametrize("model", ["qwen2.5-coder-1.5b", "Qwen/Qwen2.5-Coder-0.5B"])
def test_a_repository_may_choose_a_model_by_name(tmp_path: Path, model: str) -> None:
    write(tmp_path / "codefilter.toml", f'model = "{model}"\n')
    assert load_settings(tmp_path).model == model


def test_a_repository_may_not_choose_a_folder_that_has_a_models_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "codefilter.toml", 'model = "weights"\n')
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="may not set model"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        'model = "remote:http://evil.example/"',
        'model = "../weights"',
        'model = "/weights"',
        'model = "a/b/c"',
        'model = "\\\\\\\\host\\\\share"',
        'model = "fake:token_ms=1e9"',
        'model = "name\\n"',
        'engine = "torch"',
    ],
)
def test_a_repository_may_not_decide_what_is_loaded_or_contacted(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "codefilter.toml", line + "\n")
    with pytest.raises(ConfigError, match="a repository's own file") as caught:
        load_settings(tmp_path)
    assert "--config" in caught.value.hint
    load_settings(tmp_path, config_file=path)  # somebody vouches for it
    write(user_config_file(), line + "\n")
    load_settings()  # and the user's own file may


@given(st.text(), st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.integers())))
def test_any_name_and_value_is_accepted_or_a_one_line_error(name: str, value: object) -> None:
    for setting in (name, *(field.name for field in fields(Settings))):
        message = ""
        try:
            checked = check_setting(setting, value, "here")
        except ConfigError as error:
            message = error.message
        assert len(message.splitlines()) == 1 or checked == value or (setting, checked) == ("max_lines", None)


def test_every_variable_that_the_code_names_is_a_setting_or_a_known_exception() -> None:
    package = Path(codefilter.__file__).parent
    paths = [*package.rglob("*.py"), package.parent / "bootstrap.py"]
    sources = [path.read_text(encoding="utf-8") for path in paths]
    named = {name for source in sources for name in re.findall(rf'"({ENVIRONMENT_PREFIX}[A-Z_]+)"', source)}
    settings = {ENVIRONMENT_PREFIX + field.name.upper() for field in fields(Settings)}
    assert named - settings == NOT_SETTINGS
    assert {ENVIRONMENT_PREFIX + name.upper() for name in BENCHMARKS} <= NOT_SETTINGS
    assert load_settings(environment=dict.fromkeys(NOT_SETTINGS, "x")) == Settings()
