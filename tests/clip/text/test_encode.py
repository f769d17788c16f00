"""Batches of like length, and means that are taken only where they are asked for."""

import numpy as np
import open_clip
import pytest
import torch

from denseclip_viz.clip.text import encode as text_vectors
from denseclip_viz.clip.text.bank import TextBank
from denseclip_viz.clip.text.encode import encode_texts, ensemble
from denseclip_viz.errors import PromptError
from denseclip_viz.prompts import Prompts

VISION = {"image_size": 16, "patch_size": 8, "width": 16, "head_width": 8, "layers": 1}
TOKENIZER = open_clip.SimpleTokenizer()


def build():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clip = open_clip.CLIP(8, VISION, {"width": 16, "heads": 2, "layers": 2})
        for parameter in clip.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return clip.eval().double()


CLIP = build()


def slow(texts):
    """The model's own answer, text by text, at the full context."""
    with torch.no_grad():
        return torch.cat([CLIP.encode_text(TOKENIZER([text]), normalize=True) for text in texts])


def test_an_ensemble_is_the_scaled_mean_of_unit_vectors_and_only_on_request():
    vectors = torch.randn(5, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    vectors = vectors / vectors.norm(dim=-1, keepdim=True)
    mean = vectors.numpy().mean(axis=0)
    expected = mean / np.sqrt((mean**2).sum(axis=-1, keepdims=True))
    assert np.abs(ensemble(vectors).numpy() - expected).max() <= 1e-15
    with pytest.raises(PromptError, match="mean over the templates"):
        ensemble(torch.stack([vectors[0], -vectors[0]]))


def test_an_ensemble_counts_templates_by_their_weights():
    vectors = torch.nn.functional.normalize(torch.randn(3, 2, 8, dtype=torch.float64), dim=-1)
    mean = np.average(vectors.numpy(), axis=0, weights=[1, 0, 2.5])
    expected = mean / np.sqrt((mean**2).sum(axis=-1, keepdims=True))
    for weights in ([1, 0, 2.5], np.array([2, 0, 5.0]), torch.tensor([0.4, 0, 1.0])):
        assert np.abs(ensemble(vectors, weights).numpy() - expected).max() <= 1e-7
    assert (ensemble(vectors, [7, 7, 7]) - ensemble(vectors)).abs().max() <= 1e-15


@pytest.mark.parametrize("weights", [[1], [1, 2, 3, 4], [0, 0, 0], [1, -1, 1], [1, np.nan, 1], "abc", 3, [[1, 1, 1]]])
def test_weights_that_cannot_be_are_refused(weights):
    with pytest.raises(PromptError, match="weights="):
        ensemble(torch.eye(3)[:, None], weights)


def test_the_wordings_of_a_prompt_are_averaged_in_each_template_by_itself():
    prompts = Prompts({"car": ["car", "automobile", "auto"], "grass": "grass"}, ["a {}.", "{}"])
    vectors = TextBank(CLIP, TOKENIZER).encode(prompts)
    assert vectors.shape == (2, 2, 8)
    for row, texts in zip(vectors, prompts.texts, strict=True):
        mean = slow(texts[:3]).mean(0)
        assert (row[0] - mean / mean.norm()).abs().max() <= 1e-12
        assert torch.equal(row[1], encode_texts(CLIP, TOKENIZER, texts)[3])


def test_texts_of_like_length_share_a_batch_and_no_batch_has_too_many_tokens(monkeypatch):
    monkeypatch.setattr(text_vectors, "MOST_TOKENS", 32)
    lengths = [3, 30, 4, 9, 5, 3, 12, 4, 50, 4, 4, 4, 4, 4, 4]
    seen = [rows.tolist() for rows in text_vectors.batches(torch.tensor(lengths), 256)]
    assert sorted(row for rows in seen for row in rows) == list(range(15))
    assert [sorted({lengths[row] for row in rows}) for rows in seen] == [[3, 4], [4], [5], [9, 12], [30], [50]]
    texts = [" ".join(["car"] * (length - 2)) for length in lengths]
    assert (encode_texts(CLIP, TOKENIZER, texts) - slow(texts)).abs().max() <= 1e-12
