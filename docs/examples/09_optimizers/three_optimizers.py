"""
Three optimizers, one network
=============================

Training a small network on scikit-learn's digits: steps cost gradients, so those are counted.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

import pdekit as pk

images, labels = map(torch.as_tensor, load_digits(return_X_y=True))
images, loss = images.float() / 16, torch.nn.CrossEntropyLoss()
makers = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.5),
    "EntropySGD": lambda p: pk.optim.EntropySGD(p, lr=2.0, inner_steps=10),
    "SGLD": lambda p: pk.optim.SGLD(p, lr=0.2, temperature=1e-5),
}
fig, ax = plt.subplots(layout="constrained")
for name, make in makers.items():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimizer, losses = make(model.parameters()), []

    def closure():
        optimizer.zero_grad()
        losses.append(loss(model(images), labels))
        losses[-1].backward()
        return losses[-1]

    while len(losses) < 300:
        optimizer.step(closure)
    ax.semilogy([x.item() for x in losses], label=name)
ax.set(xlabel="gradients", ylabel="training loss")
ax.legend()
