"""ALIGN of transformers: an EfficientNet whose last map is averaged, and a BERT. Source: modeling_align.py.

    e   = Σ_j z_j / N        z: what leaves the last block; nothing stands behind the mean, and no rest is left
    F_j = z_j                the projection to the common space is on the text's side

So cos(F_j, t) and the contribution z_j·t / (N ‖e‖) differ by the length of z_j alone, and the gap is zero.

Where cells see. A convolution of stride 2 pads one side more than the other (`correct_pad`), so that its output i has
its middle at input 2i + 1 and not between 2i and 2i + 1. After five of them the middle of what a cell of 32 pixels
sees is its own last pixel: 15.5 pixels below and right of its middle. `shift` says so, and maps are drawn there.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from denseclip_viz.clip.hooks import Tap
from denseclip_viz.clip.towers.mean_pool import MeanParts, MeanPoolTower
from denseclip_viz.errors import GeometryError, UnsupportedTowerError


class Align(nn.Module):
    """An `AlignModel`, asked as an open_clip model is asked; it holds the parts of that model, not copies.

    Args:
        model: The `AlignModel`.
        pad: The id that fills a row of tokens behind its text.
        context_length: How many tokens its tokenizer gives; the text tower may have fewer positions.
    """

    def __init__(self, model: Any, *, pad: int, context_length: int) -> None:
        super().__init__()
        self.visual = AlignImage(model.vision_model)
        self.text_model, self.text_projection = model.text_model, model.text_projection
        positions = int(model.text_model.config.max_position_embeddings)
        self.pad, self.context_length = pad, min(context_length, positions)
        self.logit_scale = nn.Parameter(-model.temperature.detach().log())  # cosines are divided by a temperature

    @property
    def widths(self) -> tuple[int, int]:
        """The length of an image's vector and of a text's."""
        last: Any = self.visual.get_submodule("trunk.encoder.blocks")
        return int(last[-1].projection.project_bn.num_features), int(self.text_projection.out_features)

    @property
    def words(self) -> int:
        """How many tokens the text tower knows."""
        return int(self.text_model.config.vocab_size)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Embed preprocessed pixels `(image, 3, H, W)`: `(image, D)`, not normalised."""
        embedding: Tensor = self.visual(pixels)
        return embedding

    def encode_text(self, ids: Tensor) -> Tensor:
        """Embed rows of tokens `(text, place)`: `(text, D)`, not normalised.

        Padding is hidden from the attention, so what is padding in every row is not computed. In exact arithmetic
        that changes nothing; transformers computes the softmax in fp32, whatever the model's own precision is.
        """
        words = ids != self.pad
        length = int(words.any(0).nonzero().max()) + 1 if bool(words.any()) else 1
        ids, words = ids[:, :length], words[:, :length]
        tokens = self.text_model(input_ids=ids, attention_mask=words.long())[0]
        vectors: Tensor = self.text_projection(tokens[:, 0])
        return vectors


class AlignImage(nn.Module):
    """ALIGN's image tower: pixels in, the pooled embedding out."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed `(image, 3, H, W)`: `(image, D)`."""
        pooled: Tensor = self.trunk(pixels)[1]
        return pooled


class Stride(NamedTuple):
    """A convolution along one axis: how wide, how far apart, and how much is padded before and behind."""

    kernel: int
    step: int
    before: int
    behind: int


@dataclass(frozen=True)
class AlignTower(MeanPoolTower):
    """ALIGN's EfficientNet; its convolutions pad one side more, so it counts cells and says where they see."""

    def __post_init__(self) -> None:
        pooler = self.visual.get_submodule("trunk.pooler")
        if not isinstance(pooler, nn.AvgPool2d):  # a maximum is no sum over positions
            raise UnsupportedTowerError(
                f"the image tower of ALIGN pools by {type(pooler).__name__}",
                expected="a mean over positions",
                fix="Load a model whose vision_config says pooling_type 'mean'.",
            )

    @property
    def parts(self) -> MeanParts:
        """Where the parts are."""
        trunk: Any = self.visual.get_submodule("trunk")
        strides = [_stem(trunk.embeddings)]
        taps, shifts = {"stem": Tap(trunk.embeddings)}, {"stem": _reach(strides)[1]}
        for i, blocks in enumerate(_stages(trunk.encoder.blocks)):
            taps |= {f"stages.{i}.{j}": Tap(block) for j, block in enumerate(blocks)}
            taps[f"stages.{i}"] = Tap(blocks[-1])
            strides += [_depthwise(block.depthwise_conv) for block in blocks]
            shifts[f"stages.{i}"] = _reach(strides)[1]
        cell, shifts["pool.input"] = _reach(strides)
        return MeanParts(
            cell=(cell, cell),
            pool=Tap(trunk.pooler, "input"),
            layers=tuple(name for name in taps if name.count(".") < 2),
            taps=taps,
            shifts={name: (beside, beside) for name, beside in shifts.items()},
        )

    def grid(self, pixels: Tensor) -> tuple[int, int]:
        """Count cells, as the convolutions do; a rest of less than a cell makes none.

        Raises:
            GeometryError: Too few pixels, too many for the pool, or a rest that would make a cell of its own.
        """
        trunk: Any = self.visual.get_submodule("trunk")
        strides = [_stem(trunk.embeddings), *(_depthwise(block.depthwise_conv) for block in trunk.encoder.blocks)]
        cell, most = _reach(strides)[0], trunk.pooler.kernel_size
        height, width = pixels.shape[-2:]
        counts = _count(height, strides), _count(width, strides)
        if counts != (height // cell, width // cell) or min(counts) < 1 or max(counts) > most:
            raise GeometryError(
                f"an input of {height} x {width} pixels",
                expected=f"sides of 1 to {most} whole cells of {cell} pixels",
                fix="Let model.trace(image, geometry='whole') resize and pad it.",
            )
        return counts


def _stages(blocks: Any) -> list[list[Any]]:
    """Part blocks into stages, each from a block that nothing leads around, since its stride or width is another."""
    stages: list[list[Any]] = []
    for block in blocks:
        if block.projection.apply_dropout and stages:
            stages[-1].append(block)
        else:
            stages.append([block])
    return stages


def _stem(embeddings: Any) -> Stride:
    _, _, before, behind = embeddings.padding.padding
    return Stride(embeddings.convolution.kernel_size[0], embeddings.convolution.stride[0], before, behind)


def _depthwise(layer: Any) -> Stride:
    kernel = layer.depthwise_conv.kernel_size[0]
    if layer.stride == 1:  # torch's "same"
        return Stride(kernel, 1, (kernel - 1) // 2, kernel // 2)
    _, _, before, behind = layer.depthwise_conv_pad.padding
    return Stride(kernel, layer.stride, before, behind)


def _reach(strides: list[Stride]) -> tuple[int, float]:
    """Return the pixels of a cell, and from the middle of its square to the middle of what it sees."""
    cell, first = 1, 0.0  # where the first output has its middle, counted in pixels
    for kernel, step, before, _ in strides:
        first += cell * ((kernel - 1) / 2 - before)
        cell *= step
    return cell, first - (cell - 1) / 2


def _count(side: int, strides: list[Stride]) -> int:
    for kernel, step, before, behind in strides:
        side = (side + before + behind - kernel) // step + 1
    return side
