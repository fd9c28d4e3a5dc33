"""Tests of lmkit.minis: models in the layout of transformers, and those that come with the course."""

import pytest
import torch
from transformers import AutoTokenizer, BertForPreTraining, GPT2LMHeadModel

from lmkit import causal, masked, metrics, minis, tokenizer
from lmkit.errors import LmkitError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_saved_model_is_read_by_from_pretrained(tmp_path):
    model = causal.new(causal.config(T=8, C=8, layers=1, heads=2), 0)
    minis.save(model, tokenizer.load(), tmp_path / "model", {"seed": 0}, "# A card")
    again, tokens = GPT2LMHeadModel.from_pretrained(tmp_path / "model"), AutoTokenizer.from_pretrained(tmp_path / "model")
    assert again.dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    text = "The bank of the river, 1987."
    assert tokens(text)["input_ids"] == tokenizer.load()(text)["input_ids"]
    assert (tmp_path / "model" / "README.md").read_text(encoding="utf-8") == "# A card"
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 2 * sum(p.numel() for p in model.parameters()) + 10_000


def test_an_unknown_name_and_a_missing_model_end_in_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(LmkitError, match="'gpt-maxi' is unknown: take one of gpt-mini, bert-mini"):
        minis.folder("gpt-maxi")
    monkeypatch.setattr(minis, "HOME", tmp_path)
    with pytest.raises(LmkitError, match=r"holds no model: run `python -m lmkit\.pretrain gpt-mini`"):
        minis.card("gpt-mini")


@pytest.mark.parametrize("name", minis.NAMES)
def test_a_shipped_model_is_small_and_says_how_it_was_made(name):
    assert sum(path.stat().st_size for path in minis.folder(name).iterdir()) < 6e6
    card = minis.card(name)
    assert card["command"] == f"python -m lmkit.pretrain {name} --steps {card['steps']} --seed {card['seed']} --threads {card['threads']}"
    assert card["command"] in (minis.folder(name) / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_gpt_mini_scores_what_its_card_says():
    model = GPT2LMHeadModel.from_pretrained(minis.folder("gpt-mini")).eval()
    assert metrics.evaluate(causal.LanguageModel(model)).bits_per_byte == pytest.approx(minis.card("gpt-mini")["bits_per_byte"], abs=1e-3)


@pytest.mark.slow
def test_bert_mini_scores_what_its_card_says_and_beats_counting_to_the_left():
    model, card = BertForPreTraining.from_pretrained(minis.folder("bert-mini")).eval(), minis.card("bert-mini")
    gaps = masked.gaps("validation")
    counts = masked.Neighbours(masked.chunks("train", masked.tokenizer()))
    assert masked.masked_accuracy(model, gaps) == pytest.approx(card["masked_accuracy"], abs=2e-3)
    for kind in ("most_frequent", "bigram", "both_sides"):
        assert masked.accuracy(getattr(counts, kind)(gaps), gaps) == pytest.approx(card[kind])
    assert card["masked_accuracy"] > card["bigram"] > card["most_frequent"]
