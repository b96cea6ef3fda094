"""Trains the tumor classifier: gradient-boosted trees on the Wisconsin breast cancer data."""

import lightgbm
import numpy as np
from onnx import TensorProto, helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from golden import publish

DOC = (
    "Breast tumours: 30 measurements of cell nuclei, in the order of scikit-learn's "
    "load_breast_cancer; label 0 is malignant, 1 benign. Not for medical use."
)


def trim(model):
    """Leaves the tree ensemble alone: the converter wraps it in casts and factors of one."""
    trees = model.graph.node[0]
    trees.output[:] = ["label", "probabilities"]
    graph = helper.make_graph(
        [trees], "tumor",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 30])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
         helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2])],
    )
    return helper.make_model(
        graph, producer_name=model.producer_name, producer_version=model.producer_version, ir_version=8,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)],
    )


def main():
    data = load_breast_cancer()
    x_train, x_test, y_train, y_test = train_test_split(
        data.data.astype(np.float32), data.target, test_size=0.2, stratify=data.target, random_state=8
    )
    classifier = lightgbm.LGBMClassifier(
        n_estimators=100, num_leaves=12, learning_rate=0.08, min_child_samples=10,
        random_state=8, deterministic=True, force_row_wise=True, n_jobs=1, verbose=-1,
    )
    classifier.fit(x_train, y_train)

    model = trim(convert_lightgbm(
        classifier, initial_types=[("features", FloatTensorType([None, 30]))],
        zipmap=False, target_opset=15,
    ))

    def case(first, rows):
        kinds = ", ".join(data.target_names[t] for t in y_test[first : first + rows])
        where = f"row {first}" if rows == 1 else f"rows {first} to {first + rows - 1}"
        return f"test {where}: {kinds}", {"features": x_test[first : first + rows]}

    cases = [case(i, 1) for i in range(8)] + [case(8, 2), case(10, 3), case(13, 16)]
    session = publish("tumor", model, DOC, cases)
    label, probabilities = session.run(None, {"features": x_test})
    print(
        f"tumor: test accuracy {(label == y_test).mean():.4f}, "
        f"AUC {roc_auc_score(y_test, probabilities[:, 1]):.4f} on {len(y_test)} rows"
    )


if __name__ == "__main__":
    main()
