"""Chapter 8, BERT: input embeddings, masking, sentence pairs, the encoder, published weights, the loss, and a text scored by its gaps."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class InputEmbeddings(nn.Module):
    """What BERT's first block reads: for each token the sum of three vectors, normalised.

    Parts as in transformers' BertEmbeddings: word_embeddings (V, C), position_embeddings (places, C) and
    token_type_embeddings (2, C), each an nn.Embedding, and LayerNorm, an nn.LayerNorm of C numbers with eps = 1e-12.
    No dropout. Source: Devlin et al. 2019, section 3.
    """

    def __init__(self, V: int, C: int, places: int):
        """V: tokens in the vocabulary; C: width; places: the longest sequence. The first values of the parameters are of your choice."""
        super().__init__()
        self.word_embeddings = nn.Embedding(V, C)
        self.position_embeddings = nn.Embedding(places, C)
        self.token_type_embeddings = nn.Embedding(2, C)
        self.LayerNorm = nn.LayerNorm(C, eps=1e-12)

    def forward(self, ids: Tensor, types: Tensor | None = None) -> Tensor:
        """A vector for each token.   ids: (B, T) int64; types: (B, T) int64, 0 or 1, None: all are 0 -> (B, T, C)

        The token's row of word_embeddings, the row of position_embeddings of its place, counted from 0, and the row of
        token_type_embeddings of its type are added up; LayerNorm comes last. T is at most `places`. Nothing given is changed.
        """
        if types is None:
            types = torch.zeros_like(ids)
        places = torch.arange(ids.shape[1])
        return self.LayerNorm(self.word_embeddings(ids) + self.position_embeddings(places) + self.token_type_embeddings(types))


def mask_tokens(
    ids: Tensor, special: list[int], mask_id: int, V: int, generator: torch.Generator, share: float = 0.15
) -> tuple[Tensor, Tensor]:
    """Choose tokens to predict, and hide them as BERT's training does.   ids: (B, T) int64 -> masked ids and labels, both (B, T) int64

    Each token whose id is not in `special` is chosen with probability `share`, by itself. Of the chosen ones each becomes
    mask_id with probability 0.8, with 0.1 a random id, each of the V equally likely, and else it stays. Labels are the
    chosen tokens' own ids, and -100 everywhere else. All that is random comes from the generator. ids stay as they are.
    Source: Devlin et al. 2019, section 3.1.
    """
    chosen = torch.rand(ids.shape, generator=generator) < share
    chosen &= ~torch.isin(ids, torch.tensor(special, dtype=ids.dtype))
    fate = torch.rand(ids.shape, generator=generator)
    drawn = torch.randint(V, ids.shape, generator=generator)
    masked = ids.masked_fill(chosen & (fate < 0.8), mask_id)
    masked = masked.where(~chosen | (fate < 0.9), drawn)
    return masked, ids.masked_fill(~chosen, -100)


def next_sentence_pairs(documents: Sequence[Sequence[Any]], generator: torch.Generator) -> list[tuple[Any, Any, bool]]:
    """Pairs of sentences, half of them neighbours: (first, second, whether the second follows the first).

    documents: each a sequence of sentences, which may be anything. For each sentence that is not the last of its document
    there is one pair, in the order of the text. With probability 1/2 its second is the next sentence. Else one of the other
    documents that hold a sentence is drawn, all equally likely, and one of its sentences, all equally likely. All that is
    random comes from the generator. Nothing given is changed. Errors: ValueError where fewer than two documents hold a sentence.
    Source: Devlin et al. 2019, section 3.1.
    """
    filled = [document for document in documents if len(document) > 0]
    if len(filled) < 2:
        raise ValueError(f"{len(filled)} of {len(documents)} documents hold a sentence; a random second one needs two such documents")

    def draw(n: int) -> int:
        return int(torch.randint(n, (), generator=generator))

    pairs = []
    for i, document in enumerate(filled):
        for first, following in itertools.pairwise(document):
            if draw(2):
                pairs.append((first, following, True))
            else:
                other = filled[(i + 1 + draw(len(filled) - 1)) % len(filled)]
                pairs.append((first, other[draw(len(other))], False))
    return pairs


class Encoder(nn.Module):
    """BERT's stack of encoder blocks.

    Its parameters have the names that nn.TransformerEncoder gives them: layers.0.self_attn.in_proj_weight and so on, for each
    block those of an nn.TransformerEncoderLayer. No dropout. Source: Devlin et al. 2019, section 3.
    """

    def __init__(self, C: int, H: int, M: int, layers: int, eps: float = 1e-12):
        """C: width; H: heads; M: width inside the feed-forward layers; layers: how many blocks; eps: of every layer norm"""
        super().__init__()
        options = {"dropout": 0.0, "activation": "gelu", "layer_norm_eps": eps, "batch_first": True}
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(C, H, M, **options) for _ in range(layers))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """All blocks, one after the other.   x: (B, T, C); real: (B, T) bool, True: a token, False: padding -> (B, T, C)

        Each block: x = norm1(x + attention(x)), then norm2(x + linear2(GELU(linear1(x)))), with the exact GELU. Every place may
        look at every token, before it and behind it; none looks at padding. Each row has at least one token. What comes out at
        padding is of no use. x and real are not changed.
        """
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~real)
        return x


def load_pretrained(embeddings: nn.Module, encoder: nn.Module, pretrained: nn.Module) -> None:
    """Copy the weights of a BERT as it is published into modules of one's own.

    embeddings, encoder: modules with the parameters of InputEmbeddings and Encoder, of the same sizes as the model's
    pretrained: a BertModel of transformers; state_dict() gives its tensors by their published names. It is not changed, and
    what is copied is independent of it. Its pooler is left out.
    """
    published = pretrained.state_dict()
    embeddings.load_state_dict({name: published[f"embeddings.{name}"] for name, _ in embeddings.named_parameters()}, strict=False)
    renamed = {
        "self_attn.out_proj": "attention.output.dense",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm1": "attention.output.LayerNorm",
        "norm2": "output.LayerNorm",
    }
    state = {}
    for i in range(len(encoder.layers)):
        theirs, ours = f"encoder.layer.{i}", f"layers.{i}"
        for kind in ("weight", "bias"):
            parts = [published[f"{theirs}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            state[f"{ours}.self_attn.in_proj_{kind}"] = torch.cat(parts)
            for own, name in renamed.items():
                state[f"{ours}.{own}.{kind}"] = published[f"{theirs}.{name}.{kind}"]
    encoder.load_state_dict(state, strict=False)


def masked_lm_loss(hidden: Tensor, labels: Tensor, transform: Callable[[Tensor], Tensor], table: Tensor, bias: Tensor) -> Tensor:
    """Mean cross-entropy of the tokens that were chosen for prediction.

    hidden: (B, T, C), what the encoder gave; labels: (B, T) int64, -100 where nothing is predicted; transform: (N, C) -> (N, C);
    table: (V, C), the word embeddings, which serve as output weights too; bias: (V,) -> a tensor with one number

    Logits of a place are transform(its vector) times the transposed table, plus bias. Only the vectors of places that have a label go
    through transform and table. The mean is over these places. Where there is none the loss is 0, and has gradients: zeros.
    """
    chosen = labels != -100
    logits = transform(hidden[chosen]) @ table.T + bias  # (N, V)
    return F.cross_entropy(logits, labels[chosen], reduction="sum") / max(int(chosen.sum()), 1)


def pseudo_log_probs(model: Callable[[Tensor], Any], ids: Tensor, special: list[int], mask_id: int) -> Tensor:
    """How well a masked model knows each token of a text from all others: ln p of each, one hidden at a time.

    model: model(ids).prediction_logits gives (B, T) int64 -> (B, T, V), as transformers' BertForPreTraining does; it is in evaluation mode
    ids: (T,) int64, one text with its special tokens -> (N,): for each id that is not in `special`, in order, the natural
    logarithm of its probability at its place, where mask_id stands there and all other tokens stand as they are

    N may be 0. The result carries no gradients. ids stay as they are. Source: Salazar et al. 2020.
    """
    places = torch.nonzero(~torch.isin(ids, torch.tensor(special, dtype=ids.dtype))).flatten()
    scores = [torch.zeros(0)]
    for some in places.split(32):  # so many rows at a time: the logits of a whole text are large
        rows, which = ids.repeat(len(some), 1), torch.arange(len(some))
        rows[which, some] = mask_id
        with torch.no_grad():
            logits = model(rows).prediction_logits[which, some]  # (B, V)
        scores.append(logits.log_softmax(dim=-1)[which, ids[some]])
    return torch.cat(scores)
