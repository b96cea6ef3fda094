"""python3 peer.py BATCH SEQUENCE LAYERS WIDTH HEADS INNER WORDS: what torch.compile with CUDA graphs takes for an encoder in bf16.

It prints the median of the milliseconds of a batch that lies on the device.
"""

import statistics
import sys

import torch
from torch import nn

batch, sequence, layers, width, heads, inner, words = map(int, sys.argv[1:])
torch.manual_seed(1)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Parameter(torch.randn(1, sequence, width))
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, inner, dropout=0, activation="gelu", batch_first=True) for _ in range(layers)
        )

    def forward(self, ids):
        x = self.norm(self.words(ids) + self.places)
        for layer in self.layers:
            y = layer.norm1(x + self.attend(layer.self_attn, x))
            x = layer.norm2(y + layer.linear2(nn.functional.gelu(layer.linear1(y))))
        return x

    def attend(self, a, x):
        q, k, v = nn.functional.linear(x, a.in_proj_weight, a.in_proj_bias).unflatten(-1, (3, heads, width // heads)).permute(2, 0, 3, 1, 4)
        return a.out_proj(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


if not torch.cuda.is_available():
    sys.exit("torch sees no device")
with torch.inference_mode():
    model = torch.compile(Encoder().cuda().bfloat16().eval(), mode="max-autotune")
    ids = torch.randint(0, words, (batch, sequence), device="cuda")
    for _ in range(20):
        model(ids)
    times = []
    for _ in range(200):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        model(ids)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
print(statistics.median(times))
