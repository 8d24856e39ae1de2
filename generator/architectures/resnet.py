"""`resnet18`, `resnet34` and their `v2` versions: residual networks of basic blocks, post- or pre-activation.

He et al. 2016 (1512.03385, 1603.05027). As in the code that Nayebi et al. 2020 released, the first block of *every* group
has a projection on its shortcut, which is one convolution more than the textbook networks have. Convolutions have no bias.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from generator.architectures.layers import Draw, Pass, WeightLayer, max_pool
from generator.architectures.network import Form, InputShape, Network

CHANNELS = (64, 128, 256, 512)
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
STEMS = {
    "large": (7, 2),
    "small": (3, 1),
}  # kernel and stride; a max pool follows the large one. The small one is [ours]


class ResNet(Network):
    """A convolution, four groups of blocks that halve the side and double the channels, the mean over positions, fc."""

    def __init__(self, shape: InputShape, form: Form, draw: Draw, depth: int, version: int) -> None:
        super().__init__(shape, form, draw)
        self.version = version
        size, stride = STEMS[form.stem]
        channels = self.wide(CHANNELS[0])
        self.stem = self.conv("conv1", shape.channels, channels, size, stride=stride, bias=False)
        self.stem_norm = self.batch_norm(channels) if version == 1 else None
        self.blocks: list[Block] = []
        block = Block if version == 1 else PreactivationBlock
        for group, count in enumerate(BLOCKS[depth]):
            for index in range(count):
                wider = self.wide(CHANNELS[group])
                stride = 2 if group and not index else 1
                name = f"group{group + 1}.block{index + 1}"
                self.blocks.append(block(self, name, channels, wider, stride, projection=not index))
                channels = wider
        self.last_norm = self.batch_norm(channels) if version == 2 else None
        self.readout = self.head(channels)

    def forward(self, x: Float[Tensor, "k b c h w"], run: Pass) -> Float[Tensor, "k b outputs"]:
        """The head's output."""
        x = self.stem(x, run)
        if self.stem_norm:
            x = self.phi(self.stem_norm(x, run))
        if self.form.stem == "large":
            x = max_pool(x, centred=True)
        for block in self.blocks:
            x = block(x, run)
        if self.last_norm:
            x = self.phi(self.last_norm(x, run))
        return self.readout(x.mean((3, 4)), run)

    def readers(self) -> list[tuple[WeightLayer, WeightLayer]]:
        """As everywhere, but that what a shortcut gives is read behind its block, whose convolutions are listed after it."""
        shortcuts = {block.shortcut for block in self.blocks}
        behind = (self.layers[place + (3 if layer in shortcuts else 1) :] for place, layer in enumerate(self.layers))
        return [(layer, after[0]) for layer, after in zip(self.layers, behind, strict=True) if after]


class Block:
    """x → φ(s(x) + norm conv φ(norm conv x)), with s the identity or a normalised projection."""

    def __init__(self, network: Network, name: str, c_in: int, c_out: int, stride: int, projection: bool) -> None:
        self.phi = network.phi
        self.shortcut, self.shortcut_norm = None, None
        if projection:
            self.shortcut = network.conv(f"{name}.shortcut", c_in, c_out, 1, stride=stride, bias=False)
            self.shortcut_norm = network.batch_norm(c_out)
        self.conv1 = network.conv(f"{name}.conv1", c_in, c_out, 3, stride=stride, bias=False)
        self.norm1 = network.batch_norm(c_out)
        self.conv2 = network.conv(f"{name}.conv2", c_out, c_out, 3, bias=False)
        self.norm2 = network.batch_norm(c_out)

    def __call__(self, x: Float[Tensor, "k b c h w"], run: Pass) -> Float[Tensor, "k b c2 h2 w2"]:
        """The block's output."""
        kept = x
        if self.shortcut and self.shortcut_norm:
            kept = self.shortcut_norm(self.shortcut(x, run), run)
        x = self.phi(self.norm1(self.conv1(x, run), run))
        return self.phi(kept + self.norm2(self.conv2(x, run), run))


class PreactivationBlock(Block):
    """x → s(x) + conv φ(norm conv p) with p = φ(norm x) and s the identity, or a projection of p."""

    def __init__(self, network: Network, name: str, c_in: int, c_out: int, stride: int, projection: bool) -> None:
        self.phi = network.phi
        self.norm1 = network.batch_norm(c_in)
        self.shortcut = None
        if projection:
            self.shortcut = network.conv(f"{name}.shortcut", c_in, c_out, 1, stride=stride, bias=False)
        self.conv1 = network.conv(f"{name}.conv1", c_in, c_out, 3, stride=stride, bias=False)
        self.norm2 = network.batch_norm(c_out)
        self.conv2 = network.conv(f"{name}.conv2", c_out, c_out, 3, bias=False)

    def __call__(self, x: Float[Tensor, "k b c h w"], run: Pass) -> Float[Tensor, "k b c2 h2 w2"]:
        """The block's output."""
        p = self.phi(self.norm1(x, run))
        kept = self.shortcut(p, run) if self.shortcut else x
        return kept + self.conv2(self.phi(self.norm2(self.conv1(p, run), run)), run)
