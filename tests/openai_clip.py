"""A CLIP as OpenAI's package makes it, written anew and tiny: its names, its layout, its own forward pass."""

import torch
from torch import nn


class LayerNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.float()).to(x.dtype)


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class ResidualAttentionBlock(nn.Module):
    def __init__(self, width, heads, attn_mask=None):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1, self.ln_2 = LayerNorm(width), LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        self.attn_mask = attn_mask

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=self.attn_mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, heads, attn_mask=None):
        super().__init__()
        self.resblocks = nn.Sequential(*[ResidualAttentionBlock(width, heads, attn_mask) for _ in range(layers)])

    def forward(self, x):
        return self.resblocks(x.permute(1, 0, 2)).permute(1, 0, 2)


class VisionTransformer(nn.Module):
    def __init__(self, input_resolution, patch_size, width, layers, heads, output_dim):
        super().__init__()
        self.input_resolution = input_resolution
        self.conv1 = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn((input_resolution // patch_size) ** 2 + 1, width))
        self.ln_pre, self.ln_post = LayerNorm(width), LayerNorm(width)
        self.transformer = Transformer(width, layers, heads)
        self.proj = nn.Parameter(torch.randn(width, output_dim))

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1) + self.positional_embedding
        return self.ln_post(self.transformer(self.ln_pre(x))[:, 0]) @ self.proj


class CLIP(nn.Module):
    """The sizes of `checkpoint_files.TINY`."""

    def __init__(self):
        super().__init__()
        self.context_length, self.vocab_size = 77, 49408
        self.visual = VisionTransformer(32, 8, 16, 2, 2, 8)
        self.transformer = Transformer(16, 1, 2, torch.full((77, 77), float("-inf")).triu_(1))
        self.token_embedding = nn.Embedding(49408, 16)
        self.positional_embedding = nn.Parameter(torch.randn(77, 16))
        self.ln_final = LayerNorm(16)
        self.text_projection = nn.Parameter(torch.randn(16, 8))
        self.logit_scale = nn.Parameter(torch.tensor(4.6))

    def encode_image(self, image):
        return self.visual(image)

    def encode_text(self, text):
        x = self.ln_final(self.transformer(self.token_embedding(text) + self.positional_embedding))
        return x[torch.arange(len(x)), text.argmax(-1)] @ self.text_projection

    def forward(self, image, text):
        image, text = self.encode_image(image), self.encode_text(text)
        image, text = (part / part.norm(dim=1, keepdim=True) for part in (image, text))
        return self.logit_scale.exp() * image @ text.t()


def tokenize(texts, context_length=77, truncate=False):
    """OpenAI's function, by the tokenizer that open_clip took over from it."""
    import open_clip

    return open_clip.SimpleTokenizer()(texts, context_length).int()
