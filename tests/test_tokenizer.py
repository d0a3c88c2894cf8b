"""The tokenizer keeps text and control tokens apart, heals boundaries, and loses nothing."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as BackendTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from codefilter.errors import ModelError
from codefilter.lm.fake import byte_tokenizer
from codefilter.tokenizer import Tokenizer

CONTROL = ["<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"]
CORPUS = [
    "def compute_average(values):\n    return sum(values) / len(values)\n",
    "class Reader:\n    def read(self):\n        return self.foo_bar\n",
    "        return compute(self.values)\n",
] * 20


def byte_level(normalizer: normalizers.Normalizer | None = None) -> Tokenizer:
    backend = BackendTokenizer(models.BPE())
    if normalizer:
        backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=CONTROL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    backend.train_from_iterator(CORPUS, trainer)
    backend.add_tokens(["    "])  # a run of spaces that is an added token, as in CodeGen's vocabulary
    return Tokenizer(backend.to_str())


def sentence_piece() -> Tokenizer:
    """As CodeLlama's: spaces become ▁, one is put before every text, unknown characters become bytes."""
    backend = BackendTokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    pieces = ["<unk>", *CONTROL, *(f"<0x{byte:02X}>" for byte in range(256))]
    backend.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=700, special_tokens=pieces))
    spec = json.loads(backend.to_str())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if not t["content"].startswith("<0x")]
    return Tokenizer(json.dumps(spec))


TOKENIZERS = {"bytes": byte_tokenizer(), "byte-level": byte_level(), "sentence-piece": sentence_piece()}
tokenizers = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
TEXTS = st.text(st.characters(exclude_characters="▁", codec="utf-8"))  # ▁ has a test of its own


@tokenizers
@given(text=TEXTS)
def test_decoding_gives_the_text_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@tokenizers
@given(text=TEXTS)
def test_pieces_are_the_text_and_hold_whole_characters(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    pieces = tokenizer.pieces(ids)
    assert (len(pieces), "".join(pieces)) == (len(ids), text)


@tokenizers
def test_only_sentence_piece_takes_its_mark_for_a_space(tokenizer: Tokenizer) -> None:
    text = "name▁of = 1"
    read = text.replace("▁", " ") if tokenizer is TOKENIZERS["sentence-piece"] else text
    assert tokenizer.decode(tokenizer.encode(text)) == read
    ids, removed = tokenizer.heal(text)
    assert tokenizer.decode(ids) + removed == read


def test_a_character_of_several_tokens_is_the_last_ones() -> None:
    tokenizer = TOKENIZERS["bytes"]
    euro = tokenizer.encode("€")
    assert tokenizer.pieces([*euro, *tokenizer.encode("!")]) == ["", "", "€", "!"]
    assert tokenizer.pieces(euro[:2]) == ["", "\ufffd"]  # cut inside it
    assert tokenizer.pieces([]) == []


@tokenizers
@pytest.mark.parametrize("name", CONTROL)
def test_control_tokens_in_source_stay_text(tokenizer: Tokenizer, name: str) -> None:
    text = f"x = '{name}'  # {name}"
    ids = tokenizer.encode(text)
    assert tokenizer.control_id(name) in tokenizer.control_ids
    assert tokenizer.control_ids.isdisjoint(ids)
    assert tokenizer.decode(ids) == text


@tokenizers
@given(text=st.text(st.characters(exclude_characters="<▁", codec="utf-8")), name=st.sampled_from(CONTROL))
def test_spelling_obeys_control_tokens_and_refuses_text_that_names_one(
    tokenizer: Tokenizer, text: str, name: str
) -> None:
    control = tokenizer.control_id(name)
    assert control is not None
    ids = [control, *tokenizer.encode(text), control]
    assert tokenizer.spell(ids) == name + text + name
    assert tokenizer.spell([*ids, *tokenizer.encode(text + name)]) is None


@tokenizers
def test_nothing_is_put_before_a_text(tokenizer: Tokenizer) -> None:
    joined = tokenizer.encode("return") + tokenizer.encode("(x)")
    assert tokenizer.decode(joined) == "return(x)"


@tokenizers
@given(text=TEXTS)
def test_healing_splits_without_loss_and_leaves_little(tokenizer: Tokenizer, text: str) -> None:
    ids, removed = tokenizer.heal(text)
    assert tokenizer.decode(ids) + removed == text
    assert tokenizer.encode(text)[: len(ids)] == ids


def test_healing_removes_no_more_than_the_tokens_stood_for_where_text_is_normalized() -> None:
    tokenizer = byte_level(normalizers.NFC())
    for text in ("# cafe\u0301 cre\u0300me\nreturn compu", "cafe\u0301", "e\u0301" * 9 + " retu"):
        ids, removed = tokenizer.heal(text)
        assert tokenizer.decode(ids) + removed == unicodedata.normalize("NFC", text)
        assert len(removed) <= len(" compu")


@pytest.mark.parametrize(
    ("text", "removed"),
    [
        ("return self.fo", ".fo"),  # ".foo" would be one token
        ("    retu", " retu"),
        ("x = compute_aver", "_aver"),
        ("x\n", ""),
        ("", ""),
    ],
)
def test_healing_takes_back_the_last_word(text: str, removed: str) -> None:
    backend = BackendTokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                pattern=__import__("tokenizers").Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\s+(?!\S)|\s+"),
                behavior="isolated",
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    texts = ["return self.foo\n    return x = compute_average"] * 9
    backend.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    assert Tokenizer(backend.to_str()).heal(text).removed == removed


@tokenizers
def test_ids_starting_with_finds_continuations_and_parts(tokenizer: Tokenizer) -> None:
    for required in (b"r", b"retu", b"    x"):
        expected = {
            index
            for index, piece in enumerate(tokenizer.token_bytes)
            if piece and (piece.startswith(required) or required.startswith(piece))
        }
        assert set(tokenizer.ids_starting_with(required)) == expected


def test_a_missing_or_broken_file_is_a_clear_error(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="not a tokenizer"):
        Tokenizer.from_folder(tmp_path)
