"""Texts become unit vectors: exactly those of the model, and nothing is cut in silence."""

import threading
import warnings

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip_viz.clip.memory import memory_guard
from denseclip_viz.clip.text.bank import TextBank
from denseclip_viz.clip.text.encode import encode_texts
from denseclip_viz.clip.text.text_towers import trimming_of_model
from denseclip_viz.errors import OutOfMemoryError, PromptError, WeightsError
from denseclip_viz.prompts import Prompts

VISION = {"image_size": 16, "patch_size": 8, "width": 16, "head_width": 8, "layers": 1}
TEXT = {"width": 16, "heads": 2, "layers": 2}
TOKENIZER = open_clip.SimpleTokenizer()
WORDS = st.lists(
    st.sampled_from(["a", "red", "car", "xylophones", "grass,", "☂", "東京", "3.14"]), min_size=1, max_size=8
)


def build(kind=open_clip.CLIP, *, seed=0, dtype=torch.float64, quick_gelu=False, **text):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip = kind(8, VISION, {**TEXT, **text}, quick_gelu=quick_gelu)
        for parameter in clip.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return clip.eval().to(dtype)


CLIP = build()


def slow(clip, texts, context=77):
    """The model's own answer, text by text, at the full context."""
    with torch.no_grad():
        return torch.cat(
            [clip.encode_text(TOKENIZER([text], context_length=context), normalize=True) for text in texts]
        )


def longest_seen(clip):
    """A list that gets the length of each sequence that goes through the text transformer."""
    seen = []
    clip.transformer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[1]))
    return seen


@given(st.lists(WORDS.map(" ".join), min_size=1, max_size=7), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_trimmed_texts_equal_the_models_own_answer_in_the_order_they_came(texts, batch_size):
    assert (encode_texts(CLIP, TOKENIZER, texts, batch_size=batch_size) - slow(CLIP, texts)).abs().max() <= 1e-12


@pytest.mark.parametrize("text", [{"proj_bias": True}, {"proj_type": "none"}, {"context_length": 20}])
def test_every_kind_of_projection_and_context_is_met(text):
    clip, texts = build(quick_gelu=True, **text), ["a red car", "grass", "a giraffe in the scene"]
    assert trimming_of_model(clip).exact
    mine = encode_texts(clip, open_clip.SimpleTokenizer(context_length=clip.context_length), texts)
    assert (mine - slow(clip, texts, clip.context_length)).abs().max() <= 1e-12


def test_what_stands_behind_the_end_of_text_is_not_computed():
    clip = build()
    seen = longest_seen(clip)
    encode_texts(clip, TOKENIZER, ["a " * 40, "grass", "a car", "sky"], batch_size=3)
    assert seen == [4, 42]


@pytest.mark.parametrize(
    "clip",
    [build(open_clip.CustomTextCLIP, no_causal_mask=True, pool_type="last"), build(open_clip.CLIP, pool_type="last")],
)
def test_other_text_towers_are_asked_as_they_are(clip):
    texts = ["a red car", "grass"]
    assert not trimming_of_model(clip).exact
    with torch.no_grad():
        theirs = clip.encode_text(TOKENIZER(texts))
    assert torch.equal(encode_texts(clip, TOKENIZER, texts), theirs / theirs.norm(dim=-1, keepdim=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_vectors_have_length_one_on_the_cpu_and_need_no_gradient(dtype):
    vectors = encode_texts(build(dtype=dtype), TOKENIZER, ["a red car", "grass"])
    assert vectors.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(2, dtype=vectors.dtype), atol=1e-6)
    assert vectors.device.type == "cpu" and not vectors.requires_grad and not vectors.is_inference()
    nearest = slow(CLIP, ["a red car", "grass"]).to(vectors.dtype)
    assert (vectors - nearest).abs().max() < 0.05


def test_the_model_is_left_as_it_was():
    clip = build()
    clip.text_projection.requires_grad_(False)
    before = {key: value.clone() for key, value in clip.state_dict().items()}
    flags = [(module.training, len(module._forward_hooks)) for module in clip.modules()]
    grads = [parameter.requires_grad for parameter in clip.parameters()]
    encode_texts(clip, TOKENIZER, ["a red car"])
    with pytest.raises(PromptError):
        encode_texts(clip, TOKENIZER, ["a " * 99])
    assert flags == [(module.training, len(module._forward_hooks)) for module in clip.modules()]
    assert grads == [parameter.requires_grad for parameter in clip.parameters()]
    assert all(torch.equal(value, before[key]) for key, value in clip.state_dict().items())
    assert torch.is_grad_enabled()


def test_the_empty_text_can_be_asked_for():
    assert (encode_texts(CLIP, TOKENIZER, [""]) - slow(CLIP, [""])).abs().max() <= 1e-12


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, None])
def test_batch_sizes_that_cannot_be_are_refused(batch_size):
    with pytest.raises(PromptError, match="batch_size"):
        encode_texts(CLIP, TOKENIZER, ["grass"], batch_size=batch_size)


def test_values_that_are_not_finite_are_an_error():
    clip = build()
    torch.nn.init.constant_(clip.ln_final.bias, float("nan"))
    with pytest.raises(WeightsError, match="no direction for 'grass'"):
        encode_texts(clip, TOKENIZER, ["grass"])


@pytest.mark.parametrize(
    "raised",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("full"),
        RuntimeError("[x] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_running_out_of_memory_names_the_knob(raised, monkeypatch):
    def encode_text(ids):
        raise raised

    clip = build(open_clip.CustomTextCLIP)
    monkeypatch.setattr(clip, "encode_text", encode_text)
    with pytest.raises(OutOfMemoryError, match=r"batch_size \(now 16\)") as caught:
        encode_texts(clip, TOKENIZER, ["grass"], batch_size=16)
    assert caught.value.__cause__ is raised


def test_other_errors_pass_the_memory_guard_unchanged():
    for error in (RuntimeError("shapes"), ValueError("no"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, memory_guard("batch_size"):
            raise error
        assert caught.value is error


def test_progress_is_told_after_every_batch():
    told = []
    encode_texts(CLIP, TOKENIZER, list("abcde"), batch_size=2, progress=lambda done, of: told.append((done, of)))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_the_bank_keeps_templates_and_prompts_apart():
    prompts = Prompts(["a red car", "grass"], ["a photo of {}.", "{} in the scene", "{}"])
    vectors = TextBank(CLIP, TOKENIZER).encode(prompts)
    assert vectors.shape == (3, 2, 8)
    for row, texts in zip(vectors, prompts.texts, strict=True):
        assert (row - slow(CLIP, texts)).abs().max() <= 1e-12


def test_the_bank_runs_the_text_tower_once_for_a_text():
    clip = build()
    seen, bank = longest_seen(clip), TextBank(clip, TOKENIZER)
    first = bank.encode(["grass", "sky"])
    again = bank.encode(Prompts(["sky", "grass"]))
    assert len(seen) == 1 and torch.equal(first.flip(1), again)
    again.zero_()
    assert torch.equal(bank.encode(["grass", "sky"]), first) and len(seen) == 1
    bank.encode(["sky", "a lake"])
    assert len(seen) == 2 and len(bank) == 3
    bank.clear()
    assert len(bank) == 0 and bank.encode("sky").shape == (1, 1, 8) and len(seen) == 3


def test_the_bank_forgets_what_was_used_least_recently():
    clip = build()
    seen, bank = longest_seen(clip), TextBank(clip, TOKENIZER, size=2)
    bank.encode(["a", "b"]), bank.encode("a"), bank.encode("c")
    assert len(bank) == 2 and len(seen) == 2
    bank.encode(["a", "c"])
    assert len(seen) == 2
    bank.encode("b")
    assert len(seen) == 3
    many = bank.encode([f"thing {number}" for number in range(5)])
    assert many.shape == (1, 5, 8) and len(bank) == 2


def test_a_text_that_was_cut_on_request_is_still_refused_without_it():
    bank, long = TextBank(CLIP, TOKENIZER), "a " * 99
    assert bank.encode(long, truncate=True).shape == (1, 1, 8)
    with pytest.raises(PromptError, match="101 tokens"):
        bank.encode(long)


def test_wording_an_error_reads_the_texts_of_one_prompt_only():
    texts = []

    class Counting(open_clip.SimpleTokenizer):
        def encode(self, text):
            texts.append(text)
            return super().encode(text)

    prompts = Prompts([f"thing {number}" for number in range(50)] + ["a " * 99], ["{}!", "see {}", "{}"])
    with pytest.raises(PromptError, match=r"the prompt 'a a .*in the template '\{\}!' and 2 more"):
        TextBank(CLIP, Counting()).encode(prompts)
    assert len(texts) == 51 + 3


def test_an_interrupt_leaves_the_bank_usable():
    def stop(done, of):
        raise KeyboardInterrupt

    bank = TextBank(CLIP, TOKENIZER)
    with pytest.raises(KeyboardInterrupt):
        bank.encode(["grass", "sky"], batch_size=1, progress=stop)
    assert len(bank) == 1, "what was encoded before is kept"
    assert bank.encode(["grass", "sky"]).shape == (1, 2, 8)


def test_threads_can_share_a_bank():
    bank, found = TextBank(CLIP, TOKENIZER, size=3), {}

    def ask(number):
        found[number] = bank.encode([f"thing {number % 4}", "grass"])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((found[n][0] - slow(CLIP, [f"thing {n % 4}", "grass"])).abs().max() <= 1e-12 for n in range(12))


def test_a_text_that_is_too_long_in_some_templates_names_prompt_and_templates():
    long = "an orange tree " + "and another " * 34
    prompts = Prompts(["grass", long], ["a photo of {}.", "{}", "see {}", "one photo of what is just {}."])
    with pytest.raises(PromptError, match="80 tokens and this text tower reads 77") as caught:
        TextBank(CLIP, TOKENIZER).encode(prompts)
    assert "(the prompt 'an orange tree" in caught.value.got
    assert "in the template 'one photo of what is just {}.'; it fits into the other 3 templates)" in caught.value.got
    longer = Prompts(long + "and " * 3, ["a photo of {}.", "{}", "photo of just {}"])
    with pytest.raises(PromptError, match=r"in the template 'a photo of .*' and 1 more; it fits .* other 1 template\)"):
        TextBank(CLIP, TOKENIZER).encode(longer)


NAMES = ["a taxi", "a cab", "a taxi.", "two taxis", "a caf\u00e9"]
SPELLINGS = [str.upper, str.title, lambda text: text.replace(" ", "  "), lambda text: text.replace(".", " ."), str]
SPELT = st.builds(lambda text, how: how(text), st.sampled_from(NAMES), st.sampled_from(SPELLINGS))


@given(st.lists(SPELT, min_size=2, max_size=4, unique_by=lambda text: " ".join(text.split())), st.booleans())
@settings(max_examples=60)
def test_two_prompts_are_refused_just_where_the_tokenizer_reads_them_alike(texts, is_absent):
    rows = TOKENIZER(texts).tolist()
    prompts = Prompts(texts[:-1], "see {}", absent=texts[-1]) if is_absent else Prompts(texts, "see {}")
    if len(set(map(tuple, rows))) < len(texts):
        with pytest.raises(PromptError, match="reads the prompts .* alike in the template 'see {}'"):
            TextBank(CLIP, TOKENIZER).encode(prompts)
    else:
        assert TextBank(CLIP, TOKENIZER).encode(prompts).shape == (1, len(texts), 8)


def test_sameness_is_that_of_tokens_not_of_vectors():
    clip = build()
    torch.nn.init.constant_(clip.token_embedding.weight, 0.3)  # a text tower that hears nothing
    assert TextBank(clip, TOKENIZER).encode(["a taxi", "a cab"]).shape == (1, 2, 8)


def test_many_prompts_of_nearly_the_same_vector_cost_no_more_each_than_few(monkeypatch):
    clip, lists = build(), []
    torch.nn.init.constant_(clip.token_embedding.weight, 0.3)
    whose = Prompts.prompt_index.fget
    monkeypatch.setattr(Prompts, "prompt_index", property(lambda prompts: lists.append(1) or whose(prompts)))
    TextBank(clip, TOKENIZER).encode([f"thing {number}" for number in range(40)])
    assert len(lists) < 10, "the list of all prompts is made again for each of them"


def test_a_text_may_come_in_two_templates_and_a_synonym_in_two_spellings_but_not_in_two_prompts():
    bank = TextBank(CLIP, TOKENIZER)
    assert bank.encode(Prompts(["taxi", "see taxi"], ["{}", "see {}"])).shape == (2, 2, 8)
    assert bank.encode(Prompts({"car": ["a car", "A CAR"], "sky": "sky"})).shape == (1, 2, 8)
    with pytest.raises(PromptError, match="'car' and 'bus' alike .'a cab' and 'A Cab'.. Expected"):
        bank.encode(Prompts({"car": ["a car", "a cab"], "bus": ["A Cab"]}))


def test_articles_and_a_cut_can_make_two_prompts_one():
    with pytest.raises(PromptError, match="in the template 'on a {}'"):
        TextBank(CLIP, TOKENIZER).encode(Prompts(["taxi", "a taxi"], ["{}", "on a {}"], articles="right"))
    with pytest.raises(PromptError, match="alike"):
        TextBank(CLIP, TOKENIZER).encode(["very " * 80 + "red", "very " * 80 + "green"], truncate=True)


@pytest.mark.filterwarnings("default")
def test_of_words_that_the_tokenizer_takes_apart_is_warned_once_also_where_vectors_are_known(load_tiny):
    model = load_tiny("vit")
    with warnings.catch_warnings(record=True) as caught:
        for _ in range(3):
            model.texts.encode(["a taxi", "машина"])
            warnings.simplefilter("default")  # after any change of filters Python says again what it has said
    assert len(caught) == 1 and "'машина' in single letters or bytes" in str(caught[0].message)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="single letters"):
        model.encode_text(["машина"])
    with pytest.warns(UserWarning, match="'красная' in single letters"):
        model.texts.encode(Prompts(["a taxi"], "красная {}"))


def test_what_vectors_are_of_is_the_texts_and_all_that_they_depend_on():
    clip = open_clip.CLIP(4, VISION, TEXT).eval()
    bank, plain = TextBank(clip, open_clip.SimpleTokenizer()), Prompts(["a cat", "a dog"])
    known = bank.identity_of(plain)
    bank.encode(["a bird"])
    assert bank.identity_of(plain) == known
    others = [Prompts(["a cat", "a cow"]), Prompts(["a dog", "a cat"]), Prompts({"a cat": ["a cat", "a dog"]})]
    marks = [bank.identity_of(other) for other in others]
    marks.append(TextBank(clip, open_clip.SimpleTokenizer(clean="canonicalize")).identity_of(plain))
    torch.set_float32_matmul_precision("high")
    try:
        marks.append(bank.identity_of(plain))
    finally:
        torch.set_float32_matmul_precision("highest")
    with torch.no_grad():
        clip.text_projection[0, 0] += 1
    marks.append(bank.identity_of(plain))
    assert len({known, *marks}) == 7
