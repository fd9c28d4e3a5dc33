"""The tokenizer: every text comes back as it was, the same tokens on every machine, and no slow import for their ids."""

import json
import os
import subprocess
import sys
import time
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from lmkit import corpus, tokenizer
from lmkit.cache import cache_dir, sha256
from lmkit.errors import LmkitError
from solutions import tokens


@pytest.fixture(scope="module")
def tok():
    return tokenizer.load()


def test_2048_tokens_of_which_one_is_special(tok):
    assert len(tok) == tok.vocab_size == tokenizer.VOCAB_SIZE == 2048
    assert sorted(tok.get_vocab().values()) == list(range(2048))
    assert tok.all_special_tokens == [tokenizer.END]
    assert tok.convert_tokens_to_ids(tokenizer.END) == tokenizer.END_ID == tok.eos_token_id == tok.bos_token_id == tok.pad_token_id == 0
    assert tok.unk_token is None


def test_every_paragraph_comes_back(tok):
    for split in corpus.SPLITS:
        texts = corpus.texts(split)
        assert tok.batch_decode(tok(texts)["input_ids"]) == texts


@settings(max_examples=300, deadline=None)
@given(st.text())
@example("")
@example(" ")
@example("\n\t  two  spaces \r\n")
@example("it 's , n't . a ( b ) !")  # what a decoder that tidies up would change
@example("<|endoftext|>")
@example("a<|endoftext|> b")
@example("\x00\x7f\u0301👩🏽‍🚀\ufeffá é \U0010ffff")
def test_every_text_comes_back(text):
    tok = tokenizer.load()
    assert tok.decode(tok.encode(text)) == text


def test_encode_adds_nothing(tok):
    assert tok.encode("") == []
    assert tok.encode("cats") == tok.encode("cats", add_special_tokens=False)
    assert tokenizer.END_ID not in tok.encode("Cats purr.")
    assert tok.encode("cats purr") == tok.encode("cats") + tok.encode(" purr")  # no space is put before the first word
    assert tok.encode("a" + tokenizer.END) == [*tok.encode("a"), tokenizer.END_ID]


def test_all_256_bytes_are_tokens(tok):
    single = [token for token in tok.get_vocab() if len(token) == 1]
    assert len(single) == 256


def test_padding_fills_up_with_the_end_token(tok):
    batch = tok(["Cats purr loudly.", "Cats"], padding=True)
    assert batch["input_ids"][1] == [*tok.encode("Cats"), *[0] * (len(tok.encode("Cats purr loudly.")) - len(tok.encode("Cats")))]
    assert sum(batch["attention_mask"][1]) == len(tok.encode("Cats"))


def test_saved_and_loaded_it_is_the_same(tok, tmp_path):
    tok.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = corpus.texts("validation")[0] + " it 's ." + tokenizer.END
    assert again.encode(text) == tok.encode(text)
    assert again.decode(again.encode(text)) == text


def test_pieces():
    text = "It's 12 o'clock,\tand  cafés DON'T open!\n\n we've "
    want = "It|'s| 12| o|'|clock|,|\t|and| | cafés| DON|'|T| open|!|\n\n| we|'ve| "
    assert b"|".join(tokenizer.pieces(text)).decode() == want
    assert tokenizer.pieces("") == []
    assert b"".join(tokenizer.pieces("a<|endoftext|>")) == b"a<|endoftext|>"


@settings(max_examples=200, deadline=None)
@given(st.text())
@example("\x00\x7f\u0301👩🏽‍🚀\ufeffá\xa0\xad\U0010ffff")
def test_pieces_are_the_text_and_no_token_leaves_one(text):
    found = tokenizer.pieces(text)
    assert b"".join(found) == text.encode()
    if tokenizer.END not in text:
        cut = [i for piece in found for i in tokenizer.load().encode(piece.decode())]  # a piece is whole characters
        assert cut == tokenizer.load().encode(text)


def test_vocabulary_spells_every_token(tok):
    spelled = tokenizer.vocabulary()
    assert len(spelled) == len(set(spelled)) == 2048
    assert spelled[tokenizer.END_ID] == tokenizer.END.encode()
    assert sorted(spelled[1:257]) == [bytes([byte]) for byte in range(256)]
    assert spelled == [tokenizer.spelling(token) for token in tok.convert_ids_to_tokens(range(2048))]
    for text, ids in zip(corpus.texts("validation"), tokenizer.token_ids("validation"), strict=True):
        assert b"".join(spelled[i] for i in ids) == text.encode()


def test_each_merge_makes_the_next_token():
    merged = tokenizer.merges()
    assert len(merged) == 1791
    assert [left + right for left, right in merged] == tokenizer.vocabulary()[257:]
    known = set(tokenizer.vocabulary()[:257])
    for left, right in merged:
        assert {left, right} <= known
        known.add(left + right)


def test_spelling_is_the_library_s():
    letters = bytes_to_unicode()
    assert {byte: tokenizer.spelling(letter) for byte, letter in letters.items()} == {byte: bytes([byte]) for byte in range(256)}


def test_a_smaller_vocabulary_is_the_start_of_the_larger():
    texts = corpus.texts("train")[:100]
    small, large = tokenizer.train(texts, 300), tokenizer.train(texts, 400)
    assert (len(small), len(large)) == (43, 143)
    assert large[:43] == small
    first = tokenizer.build(small)
    assert first.get_vocab_size() == 300
    assert first.decode(first.encode("déjà vu").ids) == "déjà vu"
    assert [first.id_to_token(i) for i in range(257)] == tokenizer.load().convert_ids_to_tokens(range(257))


@pytest.mark.slow
def test_exercise_1_3_learns_the_merges_of_the_course_and_1_4_encodes_with_them():
    counts = Counter(piece for text in corpus.texts("train") for piece in tokenizer.pieces(text))
    start = time.process_time()
    merges = tokens.train_bpe(counts, tokenizer.vocabulary()[:257], 1791)
    assert time.process_time() - start < 60
    assert merges == tokenizer.merges()
    bpe = tokens.BPETokenizer(tokenizer.vocabulary()[:257], merges)
    assert [bpe.encode(text) for text in corpus.texts("validation")] == tokenizer.token_ids("validation")


def test_token_ids_are_those_of_the_tokenizer(tok):
    for split in corpus.SPLITS:
        ids = tokenizer.token_ids(split)
        assert ids == tok(corpus.texts(split))["input_ids"]
        assert all(type(i) is int and 0 < i < 2048 for paragraph in ids for i in paragraph)


def test_a_caller_may_change_what_it_gets():
    tokenizer.token_ids("test")[0].clear()
    assert tokenizer.token_ids("test")[0]


def test_n_bytes():
    for split in corpus.SPLITS:
        texts = corpus.texts(split)
        assert tokenizer.n_bytes(split) == len("\n".join(texts).encode()) + 1


def test_unknown_split():
    for call in (tokenizer.token_ids, tokenizer.n_bytes):
        with pytest.raises(LmkitError, match="'dev' is unknown"):
            call("dev")


@pytest.mark.parametrize("environment", [{"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "PYTHONHASHSEED": "1"},
                                        {"TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "7", "PYTHONHASHSEED": "2"}])  # fmt: skip
def test_training_is_deterministic(tmp_path, environment):
    program = "from lmkit import tokenizer; tokenizer.token_ids('test')"
    environment = {**os.environ, **environment, "LMKIT_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    files = {path.name: sha256(path.read_bytes()) for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert files == {
        f"wikipedia-{corpus.CLEANED[:12]}.json": corpus.CLEANED,
        f"merges-{tokenizer.MERGES[:12]}.json": tokenizer.MERGES,
        f"tokens-{tokenizer.TOKENS[:12]}.bin": tokenizer.TOKENS,
    }


def test_it_has_seen_the_training_text_alone():
    assert sha256(json.dumps(tokenizer.train(corpus.texts("train")), ensure_ascii=False, indent=0).encode()) == tokenizer.MERGES
    assert tokenizer.train(corpus.texts("train") + corpus.texts("validation")) != tokenizer.train(corpus.texts("train"))


def test_ids_and_bytes_need_no_slow_import():
    tokenizer.token_ids("train")  # the cache is full now
    program = """
import sys, time
start = time.perf_counter()
from lmkit import tokenizer
tokenizer.token_ids("train")
tokenizer.n_bytes("validation")
print(time.perf_counter() - start, *{"torch", "transformers", "tokenizers", "gensim"} & set(sys.modules))
"""
    answers = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60).stdout.split() for _ in range(3)]
    seconds, *slow = min(answers, key=lambda answer: float(answer[0]))
    assert not slow, f"token ids import {slow}"
    assert float(seconds) < 1


@pytest.fixture
def empty(monkeypatch, tmp_path):
    """An empty cache with the corpus in it, and nothing remembered from other tests."""
    name = f"wikipedia-{corpus.CLEANED[:12]}.json"
    text = (cache_dir() / name).read_bytes() if (cache_dir() / name).exists() else corpus._cleaned_wikipedia()
    (tmp_path / name).write_bytes(text)
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path))
    forget()
    yield tmp_path
    forget()


def forget():
    for remembered in (tokenizer._merges, tokenizer._tokenizer, tokenizer._tokenized):
        remembered.cache_clear()


def test_damaged_files(empty):
    tokenizer.token_ids("test")
    for name, call in (("merges", tokenizer.load), ("tokens", lambda: tokenizer.token_ids("test"))):
        forget()
        (path,) = empty.glob(f"{name}-*")
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(LmkitError, match=f"{path.name} is damaged .*: delete it and run again"):
            call()
        path.write_bytes(whole)
        call()


@pytest.mark.parametrize("pin", ["MERGES", "TOKENS"])
def test_a_version_that_trains_otherwise_is_named(empty, monkeypatch, pin):
    monkeypatch.setattr(tokenizer, pin, "0" * 64)
    with pytest.raises(LmkitError, match=f"pip install tokenizers=={tokenizer.TOKENIZERS}"):
        tokenizer.token_ids("test")
    assert not [path for path in empty.iterdir() if "-000000000000" in path.name and not path.name.endswith(".lock")]
