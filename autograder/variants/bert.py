"""Variants of the solutions of chapter 8, BERT: the mistakes that students make, and other right answers."""

import math
import random

import torch
from torch import nn
from torch.nn import functional as F

from autograder.variant import edited, right, wrong

# InputEmbeddings

_SUM = "self.word_embeddings(ids) + self.position_embeddings(places) + self.token_type_embeddings(types)"
_PLAIN_SUM = "self.word_embeddings(ids) + self.position_embeddings.weight[: ids.shape[1]]"
edited(
    __name__,
    "places_forgotten",
    of="InputEmbeddings",
    edits={" + self.position_embeddings(places)": ""},
    fails="check_two_tokens",
    says="position_embeddings are missing",
)
edited(
    __name__,
    "norm_forgotten",
    of="InputEmbeddings",
    edits={f"self.LayerNorm({_SUM})": _SUM},
    fails="check_two_tokens",
    says="this is the sum; LayerNorm comes last",
)
edited(
    __name__,
    "no_row_for_missing_types",
    of="InputEmbeddings",
    edits={"types = torch.zeros_like(ids)": f"return self.LayerNorm({_PLAIN_SUM})"},
    fails="check_embeddings_at_the_ends",
    says="also where all types are 0",
)
edited(
    __name__,
    "eps_of_torch",
    of="InputEmbeddings",
    edits={", eps=1e-12)": ")"},
    fails="check_embeddings_of_library",
    says="eps is 1e-12, not torch's 1e-5",
)
edited(
    __name__,
    "dropout_in_training",
    of="InputEmbeddings",
    edits={f"self.LayerNorm({_SUM})": f"F.dropout(self.LayerNorm({_SUM}), 0.1, self.training)"},
    fails="check_embeddings_at_the_ends",
    says="in which there is no dropout either",
)
edited(
    __name__,
    "all_of_type_0",
    of="InputEmbeddings",
    edits={"self.token_type_embeddings(types)": "self.token_type_embeddings(0 * types)"},
    fails="check_two_tokens",
    says="every token has the row of type 0",
)


@right(of="InputEmbeddings")
class RowByRow(nn.Module):
    def __init__(self, V, C, places):
        super().__init__()
        for name, rows in (("word", V), ("position", places), ("token_type", 2)):
            setattr(self, f"{name}_embeddings", nn.Embedding(rows, C))
        self.LayerNorm = nn.LayerNorm(C, eps=1e-12)
        self.register_buffer("position_ids", torch.arange(places)[None])

    def forward(self, ids, types=None):
        first = self.token_type_embeddings.weight[0]
        kinds = first if types is None else F.embedding(types, self.token_type_embeddings.weight)
        words = F.one_hot(ids, self.word_embeddings.num_embeddings).to(first.dtype) @ self.word_embeddings.weight
        return self.LayerNorm(kinds + self.position_embeddings(self.position_ids[:, : ids.shape[1]]) + words)


# mask_tokens

edited(
    __name__,
    "all_become_mask",
    of="mask_tokens",
    edits={"fate < 0.8": "fate < 1"},
    fails="check_shares",
    says="80% of the chosen ones do",
)
edited(
    __name__,
    "a_tenth_of_the_rest",
    of="mask_tokens",
    edits={"fate < 0.9": "fate < 0.98"},
    fails="check_shares",
    says="10% of the chosen ones, not of those that the mask leaves",
)
edited(
    __name__,
    "special_tokens_too",
    of="mask_tokens",
    edits={"    chosen &= ~torch.isin(ids, torch.tensor(special, dtype=ids.dtype))\n": ""},
    fails="check_labels_of_chosen",
    says="special tokens are never chosen",
)
edited(
    __name__,
    "the_same_places_in_every_text",
    of="mask_tokens",
    edits={
        "chosen = torch.rand(ids.shape, generator=generator)": "chosen = torch.rand(ids.shape[1:], generator=generator).expand(ids.shape)"
    },
    fails="check_each_by_itself",
    says="draw for each token of each text",
)
edited(
    __name__,
    "a_fixed_number_of_each_text",
    of="mask_tokens",
    edits={
        "chosen = torch.rand(ids.shape, generator=generator) < share": "ranks = torch.rand(ids.shape, generator=generator).argsort(dim=1)\n"
        "    chosen = ranks < round(share * ids.shape[1])"
    },
    fails="check_each_by_itself",
    says="do not choose a fixed number of them",
)
edited(
    __name__,
    "chance_from_elsewhere",
    of="mask_tokens",
    edits={"torch.randint(V, ids.shape, generator=generator)": "torch.randint(V, ids.shape)"},
    fails="check_generator_of_masking",
    says="draw all that is random with `generator=generator`",
)


edited(
    __name__,
    "share_of_all_places",
    of="mask_tokens",
    edits={
        "< share\n": "< share * ids.numel() / max(int((~torch.isin(ids, torch.tensor(special, dtype=ids.dtype))).sum()), 1)\n",
    },
    fails="check_each_by_itself",
    says="however many special ones stand beside it",
)
edited(
    __name__,
    "never_chooses_mask_id",
    of="mask_tokens",
    edits={"torch.tensor(special, dtype=ids.dtype)": "torch.tensor([*special, mask_id], dtype=ids.dtype)"},
    fails="check_masking_at_the_ends",
    says="mask_id 4, which is not special here, share = 1: at place (0, 1) stood 4",
)


@right(of="mask_tokens")
def by_one_draw(ids, special, mask_id, V, generator, share=0.15):
    masked, labels = ids.clone(), torch.full_like(ids, -100)
    ordinary = [(b, t) for b, row in enumerate(ids.tolist()) for t, token in enumerate(row) if token not in set(special)]
    if not ordinary:
        return masked, labels
    odds = torch.tensor([1 - share, 0.8 * share, 0.1 * share, 0.1 * share])
    fates = torch.multinomial(odds, len(ordinary), replacement=True, generator=generator)
    rows, columns = torch.tensor(ordinary)[fates > 0].T
    labels[rows, columns] = ids[rows, columns]
    rows, columns = torch.tensor(ordinary)[fates == 1].T
    masked[rows, columns] = mask_id
    rows, columns = torch.tensor(ordinary)[fates == 2].T
    masked[rows, columns] = (torch.rand(len(rows), generator=generator, dtype=torch.float64) * V).long()
    return masked, labels


# next_sentence_pairs

_OTHER = "other = filled[(i + 1 + draw(len(filled) - 1)) % len(filled)]"
edited(
    __name__,
    "strangers_from_anywhere",
    of="next_sentence_pairs",
    edits={_OTHER: "other = filled[draw(len(filled))]"},
    fails="check_neighbours_and_strangers",
    says="a sentence of another document, never one of its own",
)
edited(
    __name__,
    "by_turns",
    of="next_sentence_pairs",
    edits={"if draw(2):": "if (len(pairs) + start) % 2:", "    pairs = []\n": "    pairs, start = [], draw(2)\n"},
    fails="check_half_are_neighbours",
    says="by itself",
)
edited(
    __name__,
    "long_documents_more_often",
    of="next_sentence_pairs",
    edits={_OTHER: "other = [sentence for another in filled if another is not document for sentence in another]"},
    fails="check_strangers_are_equally_likely",
    says="first one of the other documents that hold a sentence is drawn",
)
edited(
    __name__,
    "equals_left_out",
    of="next_sentence_pairs",
    edits={_OTHER: "others = [another for another in filled if another != document]; other = others[draw(len(others))]"},
    fails="check_pairs_at_the_ends",
    says="two documents with equal sentences are still two",
)
edited(
    __name__,
    "nothing_said_of_one_document",
    of="next_sentence_pairs",
    edits={"    if len(filled) < 2:\n        raise ValueError(": "    if len(filled) < 2:\n        return list("},
    fails="check_pairs_at_the_ends",
    says="expected a ValueError",
)


edited(
    __name__,
    "one_document_in_n_follows",
    of="next_sentence_pairs",
    edits={"if draw(2):": "if draw(len(filled)) == 0:"},
    fails="check_strangers_are_equally_likely",
    says="however many documents there are",
)
edited(
    __name__,
    "next_of_the_first_equal",
    of="next_sentence_pairs",
    edits={"pairs.append((first, following, True))": "pairs.append((first, document[list(document).index(first) + 1], True))"},
    fails="check_pairs_at_the_ends",
    says="the third pair is ('a', 'b', True), expected ('a', 'c', True)",
)
edited(
    __name__,
    "empty_documents_removed",
    of="next_sentence_pairs",
    edits={
        "filled = [document for document in documents if len(document) > 0]": "while [] in documents:\n"
        "        documents.remove([])\n    filled = documents"
    },
    fails="check_pairs_at_the_ends",
    says="the documents that were given are changed",
)


@right(of="next_sentence_pairs")
def with_python_random(documents, generator):
    chance = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
    holding = [i for i in range(len(documents)) if len(documents[i])]
    if len(holding) <= 1:
        raise ValueError("one document alone")
    made = []
    for i in holding:
        for k in range(1, len(documents[i])):
            second = documents[i][k]
            if follows := chance.random() < 0.5:
                made.append([documents[i][k - 1], second, follows])
                continue
            other = i
            while other == i:
                other = chance.choice(holding)
            made.append([documents[i][k - 1], chance.choice(documents[other]), False])
    return made


# Encoder

edited(
    __name__,
    "norms_in_front",
    of="Encoder",
    edits={'"batch_first": True}': '"batch_first": True, "norm_first": True}'},
    fails="check_encoder_of_torch",
    says="the norms stand after what is added (post-norm)",
)
edited(
    __name__,
    "relu",
    of="Encoder",
    edits={' "activation": "gelu",': ""},
    fails="check_encoder_of_torch",
    says="GELU, not ReLU",
)
edited(
    __name__,
    "coarse_eps",
    of="Encoder",
    edits={' "layer_norm_eps": eps,': ""},
    fails="check_encoder_of_torch",
    says="the layer norms have torch's eps of 1e-5",
)
edited(
    __name__,
    "padding_seen",
    of="Encoder",
    edits={"layer(x, src_key_padding_mask=~real)": "layer(x)"},
    fails="check_encoder_with_padding",
    says="the padding is looked at",
)
edited(
    __name__,
    "real_not_turned",
    of="Encoder",
    edits={"src_key_padding_mask=~real": "src_key_padding_mask=real"},
    fails="check_encoder_of_torch",
    says="hand over ~real",
)


edited(
    __name__,
    "places_first",
    of="Encoder",
    edits={', "batch_first": True}': "}"},
    fails="check_encoder_of_torch",
    says="want batch_first=True",
)


@right(of="Encoder")
class PartByPart(nn.Module):
    def __init__(self, C, H, M, layers, eps=1e-12):
        super().__init__()
        self.layers = nn.ModuleList()
        for _ in range(layers):
            block = nn.Module()
            block.self_attn = nn.MultiheadAttention(C, H, batch_first=True)
            block.linear1, block.linear2 = nn.Linear(C, M), nn.Linear(M, C)
            block.norm1, block.norm2 = nn.LayerNorm(C, eps), nn.LayerNorm(C, eps)
            self.layers.append(block)

    def forward(self, x, real):
        hides = torch.zeros(real.shape, dtype=x.dtype).masked_fill(~real, -math.inf)
        for block in self.layers:
            x = block.norm1(x + block.self_attn(x, x, x, key_padding_mask=hides)[0])
            y = block.linear1(x)
            x = block.norm2(x + block.linear2(y * (1 + torch.erf(y / math.sqrt(2))) / 2))
        return x


# load_pretrained

edited(
    __name__,
    "norms_exchanged",
    of="load_pretrained",
    edits={'"norm1": "attention.output': '"norm1": "output', '"norm2": "output': '"norm2": "attention.output'},
    fails="check_small_model",
    says="the two norms of a block have changed places",
)
edited(
    __name__,
    "keys_in_front",
    of="load_pretrained",
    edits={'("query", "key", "value")': '("key", "query", "value")'},
    fails="check_small_model",
    says="in_proj holds queries first",
)
edited(
    __name__,
    "block_0_everywhere",
    of="load_pretrained",
    edits={'f"encoder.layer.{i}"': '"encoder.layer.0"'},
    fails="check_small_model",
    says="every block has the weights of block 0",
)
edited(
    __name__,
    "matrices_alone",
    of="load_pretrained",
    edits={'("weight", "bias")': '("weight",)'},
    fails="check_small_model",
    says="layers.0.self_attn.in_proj_bias is as it was",
)
edited(
    __name__,
    "tensors_shared",
    of="load_pretrained",
    edits={"encoder.load_state_dict(state, strict=False)": "encoder.load_state_dict(state, strict=False, assign=True)"},
    fails="check_copies",
    says="copy the numbers, do not share the tensors",
)


edited(
    __name__,
    "pooler_taken_out",
    of="load_pretrained",
    edits={"published = pretrained.state_dict()": "pretrained.pooler = None\n    published = pretrained.state_dict()"},
    fails="check_copies",
    says="pooler.dense.weight of the published model is changed",
)


@right(of="load_pretrained")
def parameter_by_parameter(embeddings, encoder, pretrained):
    theirs = dict(pretrained.named_parameters())
    for name, own in embeddings.named_parameters():
        own.data.copy_(theirs["embeddings." + name])
    for own, block in zip(encoder.layers, pretrained.encoder.layer, strict=True):
        C = own.self_attn.out_proj.in_features
        for i, part in enumerate((block.attention.self.query, block.attention.self.key, block.attention.self.value)):
            own.self_attn.in_proj_weight.data[i * C : (i + 1) * C] = part.weight
            own.self_attn.in_proj_bias.data[i * C : (i + 1) * C] = part.bias
        pairs = (
            (own.self_attn.out_proj, block.attention.output.dense),
            (own.norm1, block.attention.output.LayerNorm),
            (own.linear1, block.intermediate.dense),
            (own.linear2, block.output.dense),
            (own.norm2, block.output.LayerNorm),
        )
        for mine, part in pairs:
            mine.weight.data.copy_(part.weight)
            mine.bias.data.copy_(part.bias)


# masked_lm_loss

_MEAN = 'reduction="sum") / max(int(chosen.sum()), 1)'
edited(
    __name__,
    "mean_over_all_places",
    of="masked_lm_loss",
    edits={_MEAN: 'reduction="sum") / labels.numel()'},
    fails="check_loss_by_hand",
    says="the sum is divided by all four places",
)
edited(
    __name__,
    "bias_forgotten",
    of="masked_lm_loss",
    edits={"table.T + bias": "table.T"},
    fails="check_loss_by_hand",
    says="the bias is missing",
)
edited(
    __name__,
    "zero_is_no_label",
    of="masked_lm_loss",
    edits={"labels != -100": "labels > 0"},
    fails="check_places_of_the_head",
    says="0 is an id like others",
)
edited(
    __name__,
    "nan_without_labels",
    of="masked_lm_loss",
    edits={f", {_MEAN}": ")"},
    fails="check_gradients_of_loss",
    says="a mean over no place is 0 / 0",
)


@wrong(of="masked_lm_loss", fails="check_places_of_the_head", says="18 vectors went through transform")
def whole_text_through_the_head(hidden, labels, transform, table, bias):
    logits = transform(hidden.flatten(0, 1)) @ table.T + bias
    return F.cross_entropy(logits, labels.flatten(), ignore_index=-100, reduction="sum") / max(int((labels >= 0).sum()), 1)


@right(of="masked_lm_loss")
def by_logsumexp(hidden, labels, transform, table, bias):
    places = torch.nonzero(labels.flatten() >= 0).flatten()
    if not len(places):
        return (hidden * 0).sum()
    tokens, vectors = labels.flatten()[places], transform(hidden.flatten(0, 1).index_select(0, places))
    own = (vectors * table[tokens]).sum(dim=1) + bias[tokens]
    return (torch.logsumexp(F.linear(vectors, table, bias), dim=1) - own).mean()


# pseudo_log_probs

_HIDE = "        rows[which, some] = mask_id\n"
edited(
    __name__,
    "nothing_hidden",
    of="pseudo_log_probs",
    edits={_HIDE: ""},
    fails="check_one_gap_at_a_time",
    says="it sees the token that it should guess",
)
edited(
    __name__,
    "all_hidden_at_once",
    of="pseudo_log_probs",
    edits={_HIDE: "        rows[:, places] = mask_id\n"},
    fails="check_one_gap_at_a_time",
    says="hide one token at a time",
)
edited(
    __name__,
    "special_tokens_hidden",
    of="pseudo_log_probs",
    edits={"torch.nonzero(~torch.isin(ids, torch.tensor(special, dtype=ids.dtype))).flatten()": "torch.arange(len(ids))"},
    fails="check_one_gap_at_a_time",
    says="special tokens are not hidden",
)
edited(
    __name__,
    "logits_returned",
    of="pseudo_log_probs",
    edits={"logits.log_softmax(dim=-1)[": "logits["},
    fails="check_one_gap_at_a_time",
    says="take their log-softmax over the vocabulary",
)


edited(
    __name__,
    "graph_kept",
    of="pseudo_log_probs",
    edits={"with torch.no_grad():": "with torch.enable_grad():"},
    fails="check_bert_mini",
    says="the result carries gradients",
)
edited(
    __name__,
    "read_at_the_rows_number",
    of="pseudo_log_probs",
    edits={"model(rows).prediction_logits[which, some]": "model(rows).prediction_logits[which, which]"},
    fails="check_one_gap_at_a_time",
    says="this was read at another place",
)
edited(
    __name__,
    "probability_of_mask_id",
    of="pseudo_log_probs",
    edits={"[which, ids[some]]": "[which, mask_id]"},
    fails="check_one_gap_at_a_time",
    says="this is the probability of another token",
)


@right(of="pseudo_log_probs")
def one_text_at_a_time(model, ids, special, mask_id):
    scores, tokens = [], ids.tolist()
    for t, token in enumerate(tokens):
        if token not in special:
            gap = [*tokens[:t], mask_id, *tokens[t + 1 :]]
            logits = model(torch.tensor([gap])).prediction_logits[0, t].detach().double().numpy()
            highest = logits.max()
            scores.append(float(logits[token] - highest - math.log(sum(math.exp(one - highest) for one in logits))))
    return scores
