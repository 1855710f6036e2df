"""
How sharp a trained network is
==============================

The spectrum of the Hessian of its loss, by Lanczos' method, without the matrix.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits

import pdekit as pk

torch.manual_seed(0)
images, labels = map(torch.as_tensor, load_digits(return_X_y=True))
data, loss = (images.float() / 16, labels), torch.nn.CrossEntropyLoss()
model = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.Tanh(), torch.nn.Linear(16, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
for _ in range(200):
    optimizer.zero_grad()
    loss(model(data[0]), data[1]).backward()
    optimizer.step()
found = pk.landscapes.hessian_spectrum(model, loss, data)
fig, ax = plt.subplots(layout="constrained")
pk.plotting.spectrum(ax, found)
ax.set(yscale="log", ylim=(1e-4, None))
