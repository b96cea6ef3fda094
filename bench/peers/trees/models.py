"""Ensembles of trees, as ONNX and as their makers have them."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import lightgbm
import numpy as np
import onnx
import xgboost
from onnx import TensorProto, helper

COLUMNS = 28


@dataclass
class Table:
    """The attributes of TreeEnsembleRegressor."""

    attributes: dict = field(default_factory=lambda: {
        name: [] for name in (
            "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_modes", "nodes_values", "nodes_truenodeids",
            "nodes_falsenodeids", "nodes_missing_value_tracks_true", "target_treeids", "target_nodeids", "target_ids",
            "target_weights",
        )
    })

    def add(self, **values):
        for name, value in values.items():
            self.attributes[name].append(value)

    def branch(self, tree, node, feature, mode, limit, yes, no, missing):
        self.add(nodes_treeids=tree, nodes_nodeids=node, nodes_featureids=feature, nodes_modes=mode, nodes_values=float(limit),
                 nodes_truenodeids=yes, nodes_falsenodeids=no, nodes_missing_value_tracks_true=int(missing))

    def leaf(self, tree, node, weight):
        self.branch(tree, node, 0, "LEAF", 0, 0, 0, False)
        self.add(target_treeids=tree, target_nodeids=node, target_ids=0, target_weights=float(weight))

    def save(self, path, base=0.0):
        node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1,
                                base_values=[float(base)], **self.attributes)
        graph = helper.make_graph(
            [node], "trees",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, COLUMNS])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        )
        model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)])
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)


def data(rows, seed):
    """Rows and targets that deep trees find something in."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, COLUMNS), dtype=np.float32)
    y = np.sin(3 * x[:, 0]) * x[:, 1] + np.abs(x[:, 2] * x[:, 3]) + (x[:, 4:] @ rng.standard_normal(COLUMNS - 4)) ** 2 / 20
    return x, y.astype(np.float32) + rng.standard_normal(rows, dtype=np.float32)


def trained_xgboost(trees, depth, path):
    """An XGBoost model with its own defaults but for the size, at path and as ONNX beside it."""
    x, y = data(40_000, 1)
    booster = xgboost.train({"max_depth": depth, "eta": 0.02, "min_child_weight": 0, "nthread": 2, "base_score": 0.0, "seed": 1},
                            xgboost.DMatrix(x, y), trees)
    booster.save_model(path)
    table = Table()
    for tree, t in enumerate(json.loads(path.read_text())["learner"]["gradient_booster"]["model"]["trees"]):
        for node, (left, right) in enumerate(zip(t["left_children"], t["right_children"])):
            limit = np.float32(t["split_conditions"][node])
            if left < 0:
                table.leaf(tree, node, limit)
            else:
                table.branch(tree, node, t["split_indices"][node], "BRANCH_LT", limit, left, right, t["default_left"][node])
    table.save(path.parent / "onnx" / "model.onnx")
    return booster


def trained_lightgbm(trees, depth, path):
    """A LightGBM model with full trees, at path and as ONNX beside it."""
    x, y = data(40_000, 1)
    booster = lightgbm.train({"num_leaves": 2**depth, "max_depth": depth, "learning_rate": 0.02, "min_data_in_leaf": 1, "verbose": -1,
                              "num_threads": 2, "seed": 1}, lightgbm.Dataset(x, y), trees)
    booster.save_model(path)
    table = Table()

    def number(node, count):
        """Numbers nodes, a branch before what it leads to: ONNX Runtime takes the first node for the root."""
        node["number"] = count
        if "leaf_value" in node:
            return count + 1
        return number(node["right_child"], number(node["left_child"], count + 1))

    def down(tree, node):
        if "leaf_value" in node:
            table.leaf(tree, node["number"], node["leaf_value"])
            return
        limit = np.float32(node["threshold"])
        if limit > node["threshold"]:  # so that the same float32 are at most the limit
            limit = np.nextafter(limit, np.float32(-np.inf))
        yes, no = node["left_child"], node["right_child"]
        table.branch(tree, node["number"], node["split_feature"], "BRANCH_LEQ", limit, yes["number"], no["number"], node["default_left"])
        down(tree, yes)
        down(tree, no)

    for tree, t in enumerate(booster.dump_model()["tree_info"]):
        number(t["tree_structure"], 0)
        down(tree, t["tree_structure"])
    table.save(path.parent / "onnx" / "model.onnx")
    return booster


def random_trees(trees, depth, path):
    """Full trees whose limits are all different, as ONNX at path."""
    rng = np.random.default_rng(1)
    table = Table()
    inner = 2**depth - 1
    for tree in range(trees):
        limits, features = rng.standard_normal(inner, dtype=np.float32), rng.integers(0, COLUMNS, inner)
        for node in range(inner):
            table.branch(tree, node, int(features[node]), "BRANCH_LEQ", limits[node], 2 * node + 1, 2 * node + 2, False)
        for node, weight in enumerate(rng.standard_normal(inner + 1, dtype=np.float32) / trees):
            table.leaf(tree, inner + node, weight)
    table.save(path)
