"""Trains the digits classifier: 8x8 grey images of handwritten digits, a small CNN."""

import io

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from golden import publish

DOC = (
    "Handwritten digits: image holds 8x8 grey values from 0 (paper) to 16 (ink). "
    "Trained on the UCI optical recognition digits that scikit-learn ships."
)


class Digits(nn.Module):
    """Grey values from 0 to 16 become a label and ten probabilities."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * 4 * 4, 10),
        )

    def logits(self, image):
        return self.layers(image / 16)

    def forward(self, image):
        logits = self.logits(image)
        return logits.argmax(dim=1), logits.softmax(dim=1)


def train(x, y, epochs=60):
    torch.manual_seed(8)
    model = Digits()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(model.logits(x[rows]), y[rows], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    return model.eval()


def main():
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    data = load_digits()
    images = data.images.astype(np.float32)[:, None]
    x_train, x_test, y_train, y_test = train_test_split(
        images, data.target, test_size=0.2, stratify=data.target, random_state=8
    )
    model = train(torch.from_numpy(x_train), torch.from_numpy(y_train))

    file = io.BytesIO()
    torch.onnx.export(
        model, (torch.from_numpy(x_test[:2]),), file, dynamo=False, opset_version=17,
        input_names=["image"], output_names=["label", "probabilities"],
        dynamic_axes={name: {0: "batch"} for name in ("image", "label", "probabilities")},
    )

    def case(first, rows):
        digits = ", ".join(str(d) for d in y_test[first : first + rows])
        where = f"row {first}" if rows == 1 else f"rows {first} to {first + rows - 1}"
        return f"test {where}: {digits}", {"image": x_test[first : first + rows]}

    cases = [case(i, 1) for i in range(10)] + [case(10, 2), case(12, 3), case(15, 8)]
    session = publish("digits", onnx.load_from_string(file.getvalue()), DOC, cases)
    label, _ = session.run(None, {"image": x_test})
    print(f"digits: test accuracy {(label == y_test).mean():.4f} on {len(y_test)} rows")


if __name__ == "__main__":
    main()
