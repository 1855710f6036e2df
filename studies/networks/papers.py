"""The networks of the thesis, and how many weights they have.

``conv(c, k)`` is a convolution with bias, c channels out and kernels of k x k pixels; normalisation
is over the batch and has two weights a channel. The counts settle what the text leaves open:

* ``small_lenet`` (section 3.3.1): 47,658 weights, so both poolings are 2 x 2 and nothing is
  normalised.
* ``smallfc`` (3.3.1): 50,890 weights are those of 64 hidden units, not of 32 (errata 71).
* ``char_lstm`` (3.3.1): 32,640 weights are those of two biases a gate, as in torch, and of scores
  without one.
* ``lenet`` (4.6.2): 131,220 weights, so the convolutions are normalised, the hidden layer is not.
* ``small_lenet_normalised`` (6.3.1): 13,338 weights, so there the hidden layer is normalised too.
* ``allcnn`` (4.6.3): 1.67 million weights. The small one of section 6.3.1 (12 and 24 channels) has
  26,982, so the scores are normalised as well, and both convolutions after the blocks are 3 x 3:
  All-CNN-C of Springenberg et al. (2014), which has a 1 x 1 one there, would have 1.37 million.
* ``mnistfc`` (4.6.2): "1.86 million" are its 1,863,690 weights without those of the normalisation.
"""

from torch import Tensor, nn


def weights(network: nn.Module) -> int:
    """How many weights are trained."""
    return sum(p.numel() for p in network.parameters())


def conv(
    before: int, after: int, size: int, pool: int = 1, *, normalised: bool = True
) -> list[nn.Module]:
    """A convolution as in LeNet: no padding, ReLU, maximum over pool x pool pixels."""
    norm = [nn.BatchNorm2d(after)] if normalised else []
    return [nn.Conv2d(before, after, size), nn.ReLU(), *norm, nn.MaxPool2d(pool)]


def small_lenet() -> nn.Sequential:
    """For 28 x 28 pixels; 47,658 weights."""
    return nn.Sequential(
        *conv(1, 10, 5, 2, normalised=False),
        *conv(10, 20, 5, 2, normalised=False),
        nn.Flatten(),
        *(nn.Linear(320, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


def smallfc() -> nn.Sequential:
    """For 28 x 28 pixels; 50,890 weights."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))


class CharLSTM(nn.Module):
    """One-hot characters (n, time, 96) to scores of the next."""

    def __init__(self, characters: int = 96, hidden: int = 48) -> None:
        super().__init__()
        self.memory = nn.LSTM(characters, hidden, batch_first=True)
        self.scores = nn.Linear(hidden, characters, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.scores(self.memory(x)[0])
        return scores


def char_lstm() -> CharLSTM:
    """For 96 characters; 32,640 weights."""
    return CharLSTM()


def small_lenet_normalised(drop: float = 0.1) -> nn.Sequential:
    """For 28 x 28 pixels; 13,338 weights."""
    return nn.Sequential(
        *(*conv(1, 8, 5, 3), nn.Dropout(drop)),
        *(*conv(8, 16, 5, 2), nn.Dropout(drop)),
        nn.Flatten(),
        *(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10)),
    )


def lenet(drop: float = 0.25) -> nn.Sequential:
    """For 28 x 28 pixels; 131,220 weights."""
    return nn.Sequential(
        *(*conv(1, 20, 5, 3), nn.Dropout(drop)),
        *(*conv(20, 50, 5, 2), nn.Dropout(drop)),
        nn.Flatten(),
        *(nn.Linear(200, 500), nn.ReLU(), nn.Dropout(drop), nn.Linear(500, 10)),
    )


def mnistfc(drop: float = 0.2) -> nn.Sequential:
    """For 28 x 28 pixels; 1,867,786 weights."""

    def layer(before: int) -> list[nn.Module]:
        return [nn.Linear(before, 1024), nn.ReLU(), nn.BatchNorm1d(1024), nn.Dropout(drop)]

    return nn.Sequential(
        nn.Flatten(), nn.Dropout(drop), *layer(784), *layer(1024), nn.Linear(1024, 10)
    )


def allcnn(channels: tuple[int, int] = (96, 192), drop: float = 0.5) -> nn.Sequential:
    """All-CNN-BN, for 3 x 32 x 32 pixels; 1,667,166 weights, 26,982 with (12, 24) channels."""

    def layer(before: int, after: int, size: int = 3, stride: int = 1) -> list[nn.Module]:
        move = nn.Conv2d(before, after, size, stride, padding=size // 2)
        return [move, nn.BatchNorm2d(after), nn.ReLU()]

    def block(before: int, after: int) -> list[nn.Module]:
        first = layer(before, after) + layer(after, after)
        return [*first, *layer(after, after, stride=2), nn.Dropout(drop)]

    few, many = channels
    return nn.Sequential(
        nn.Dropout(0.4 * drop),
        *block(3, few),
        *block(few, many),
        *(layer(many, many) + layer(many, many) + layer(many, 10, size=1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
