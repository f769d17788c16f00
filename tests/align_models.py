"""Tiny ALIGNs in folders, as transformers saves them: every number random, and a vocabulary made on the spot."""

import json
import shutil

import tiny
import torch
import transformers
from transformers import AlignConfig, AlignModel, AlignProcessor, BertTokenizerFast, EfficientNetImageProcessor

# Ten blocks, so that some stages have a second one.
VISION = {"width_coefficient": 0.25, "depth_coefficient": 0.4, "hidden_dim": 64, "image_size": 97}
TEXT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "car", "grass", "photo", "of", "giraffe", ".", "##s"]
# As kakaobrain/align-base has them, but for the sizes; half of 116 - 97 is not whole, as half of 346 - 289 is not.
IMAGES = {
    "size": {"height": 116, "width": 116},
    "crop_size": {"height": 97, "width": 97},
    "do_center_crop": True,
    "rescale_factor": 1 / 127.5,
    "rescale_offset": True,
    "do_normalize": False,
    "include_top": False,
    "resample": 2,
}
PIL_PROCESSOR = getattr(transformers, "EfficientNetImageProcessorPil", EfficientNetImageProcessor)


def make(*, seed=0, dtype=torch.float32, **vision):
    """An AlignModel in eval mode."""
    config = AlignConfig(text_config=TEXT, vision_config=VISION | vision, projection_dim=80)
    model = tiny.randomise(AlignModel(config).to(dtype), seed)
    with torch.no_grad():
        model.temperature.fill_(0.07)
    return model


def write(folder, model=None):
    """The model, its tokenizer and its image processor, saved as a user saves them."""
    (model or make()).save_pretrained(folder)
    words = folder / "words.txt"
    words.write_text("\n".join(WORDS), encoding="utf-8")
    try:
        tokenizer = BertTokenizerFast(vocab=str(words))
    except TypeError:  # before version 5
        tokenizer = BertTokenizerFast(vocab_file=str(words))
    tokenizer.model_max_length = 16
    words.unlink()
    AlignProcessor(EfficientNetImageProcessor(**IMAGES), tokenizer).save_pretrained(folder)
    remove(folder, "vocab.txt")  # before version 5 there is both
    return folder


def remove(folder, *names):
    """Files that are there, or not, by the version that wrote the folder."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


def write_older(folder, model):
    """The same as versions before 5 left it: preprocessor_config.json, a pickle, and position ids in it."""
    write(folder, model)
    remove(folder, "processor_config.json")
    settings = {"image_processor_type": "EfficientNetImageProcessor", **IMAGES}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "model.safetensors").unlink()
    state = dict(model.state_dict())
    state["text_model.embeddings.position_ids"] = torch.arange(TEXT["max_position_embeddings"])[None]
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def write_cache(folder, source, *, repo="nobody/align-tiny"):
    """A download cache that holds the files of a folder."""
    root = folder / f"models--{repo.replace('/', '--')}"
    shutil.copytree(source, root / "snapshots" / "abc")
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("abc", encoding="utf-8")
    return root / "snapshots" / "abc"
