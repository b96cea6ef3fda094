"""Trains YarnIt's purchase-click model on GENERATED data: no such shop, no such customers.

YarnIt is the online yarn shop that runs through the book Reliable Machine Learning. Its model
says how likely a visitor is to click on a product that a search brought up. This script
makes up the catalogue, the visitors and the rule by which they click, and trains a model
that has to find the rule again.
"""

import io

import numpy as np
import onnx
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from golden import publish

DOC = (
    "YarnIt purchase clicks, trained on GENERATED data: a demonstration of shape and size, "
    "not a statement about any real shop. Token id: 0 for padding, else 1 + FNV-1a 32 of the "
    "lower-case word modulo 1023. Ids that the model does not know count as padding."
)

TOKENS, PRODUCTS = 1024, 241  # ids from 0, which is padding
QUERY, HISTORY, DESCRIPTION = 8, 16, 16  # ids a row

COUNTRIES = ["US", "CA", "GB", "IE", "NO", "SE", "IS", "FI", "DE", "NL", "FR", "ES", "JP", "AU", "NZ", "PE"]
LANGUAGES = ["en", "no", "sv", "fi", "de", "nl", "fr", "es", "ja"]
SPOKEN = dict(zip(COUNTRIES, ["en", "en", "en", "en", "no", "sv", "en", "fi", "de", "nl", "fr", "es", "ja", "en", "en", "es"]))
COLD = {"CA", "NO", "SE", "IS", "FI", "DE", "GB", "IE"}

FIBRES = ["merino", "alpaca", "cotton", "linen", "silk", "mohair", "cashmere", "acrylic"]
WARM = {"merino", "alpaca", "mohair", "cashmere"}
WEIGHTS = ["lace", "fingering", "sport", "worsted", "bulky"]
COLOURS = ["indigo", "rust", "moss", "cream", "charcoal", "rose", "teal", "mustard"]
KINDS = {  # what is sold, its words, and its usual price
    "yarn": (["yarn", "skein"], 18.0),
    "kit": (["kit", "pattern", "yarn"], 45.0),
    "needles": (["needles", "circular"], 14.0),
    "hooks": (["crochet", "hook"], 8.0),
    "pattern": (["pattern", "sweater"], 7.0),
    "notions": (["stitch", "markers"], 5.0),
}
PLAIN = ["soft", "hand", "dyed", "organic", "gift", "beginner"]


def token(word):
    """The id of a word, so that any client can compute it: 32-bit FNV-1a, folded."""
    h = 2166136261
    for byte in word.encode():
        h = (h ^ byte) * 16777619 & 0xFFFFFFFF
    return 1 + h % (TOKENS - 1)


def ids(words, size):
    return [token(w) for w in words[:size]] + [0] * (size - len(words))


def catalogue(rng):
    """Products 1 to 240: each a dict with kind, fibre, words of its description, and price."""
    products = [None]
    for _ in range(PRODUCTS - 1):
        kind = rng.choice(list(KINDS))
        words, price = KINDS[kind]
        fibre, weight, colour = rng.choice(FIBRES), rng.choice(WEIGHTS), rng.choice(COLOURS)
        if kind in ("yarn", "kit"):
            words = [fibre, weight, colour, *words]
            price *= 1.6 if fibre in ("silk", "cashmere") else 1.0
        elif kind == "pattern":
            words = [weight, *words]
        words = [str(w) for w in rng.choice(PLAIN, 2, replace=False)] + [str(w) for w in words]
        price = float(np.round(price * rng.lognormal(0, 0.3), 2))
        products.append({"kind": kind, "fibre": str(fibre), "words": words, "price": price})
    return products


def visit(rng, products):
    """One product shown to one visitor: everything that is known of the moment."""
    wanted = products[rng.integers(1, PRODUCTS)]
    shown = wanted if rng.random() < 0.35 else products[rng.integers(1, PRODUCTS)]
    told = int(rng.integers(1, min(5, len(wanted["words"])) + 1))
    query = [str(w) for w in rng.choice(wanted["words"], told, replace=False)]
    taste = rng.choice(FIBRES)
    history = [
        p for p in rng.integers(1, PRODUCTS, rng.integers(0, 40))
        if products[p]["fibre"] == taste or rng.random() < 0.15
    ][:HISTORY]
    country = str(rng.choice(COUNTRIES))
    language = SPOKEN[country] if rng.random() < 0.85 else "en"
    sale = 0.7 if rng.random() < 0.2 else 1.0
    return {
        "query": query, "shown": shown, "history": history, "country": country, "language": language,
        "price": round(shown["price"] * sale, 2), "hour": round(float(rng.normal(19, 5)) % 24, 1),
    }


def click_probability(v, products):
    """The rule of the made-up world, which the model has to learn."""
    shown = v["shown"]
    match = len(set(v["query"]) & set(shown["words"])) / len(v["query"])
    fibres = [products[p]["fibre"] for p in v["history"]]
    affinity = fibres.count(shown["fibre"]) / len(fibres) if fibres else 0.0
    dear = np.log(v["price"] / KINDS[shown["kind"]][1])
    z = -3.6 + 4.2 * match - 1.1 * dear
    z += 1.6 * affinity * (shown["kind"] in ("yarn", "kit"))
    z += 0.6 * (v["country"] in COLD and shown["fibre"] in WARM and shown["kind"] in ("yarn", "kit"))
    z -= 0.5 * (v["language"] != "en" and shown["kind"] == "pattern")
    z += 0.5 * np.cos((v["hour"] - 21) / 24 * 2 * np.pi)
    return 1 / (1 + np.exp(-z))


def columns(visits, products):
    """Visits as the model's inputs."""
    number = {id(p): i for i, p in enumerate(products)}
    history = np.zeros((len(visits), HISTORY), np.int64)
    for row, v in zip(history, visits):
        row[: len(v["history"])] = v["history"]
    return {
        "query": np.array([ids(v["query"], QUERY) for v in visits], np.int64),
        "history": history,
        "description": np.array([ids(v["shown"]["words"], DESCRIPTION) for v in visits], np.int64),
        "price": np.array([[v["price"]] for v in visits], np.float32),
        "geography": np.array([1 + COUNTRIES.index(v["country"]) for v in visits], np.int64),
        "language": np.array([1 + LANGUAGES.index(v["language"]) for v in visits], np.int64),
        "hour": np.array([[v["hour"]] for v in visits], np.float32),
    }


class Embedding(nn.Module):
    """A table of vectors, of which row 0 is zero and stands for padding and unknown ids."""

    def __init__(self, size, width):
        super().__init__()
        self.table = nn.Embedding(size, width, padding_idx=0)
        nn.init.normal_(self.table.weight, std=0.3)
        with torch.no_grad():
            self.table.weight[0] = 0

    def known(self, ids):
        inside = (ids >= 0) & (ids < self.table.num_embeddings)
        return torch.where(inside, ids, 0)

    def forward(self, ids):
        return self.table(self.known(ids))

    def mean(self, ids):
        """The mean over the ids of a row that are not padding."""
        ids = self.known(ids)
        count = (ids != 0).to(torch.float32).sum(dim=1, keepdim=True)
        return self.table(ids).sum(dim=1) / count.clamp(min=1)


class Clicks(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = Embedding(TOKENS, 24)
        self.products = Embedding(PRODUCTS, 24)
        self.geography = Embedding(len(COUNTRIES) + 1, 4)
        self.language = Embedding(len(LANGUAGES) + 1, 4)
        self.tower = nn.Sequential(
            nn.Linear(24 * 5 + 4 + 4 + 3, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
        )

    def logit(self, query, history, description, price, geography, language, hour):
        query, description = self.tokens.mean(query), self.tokens.mean(description)
        history = self.products.mean(history)
        angle = hour * (2 * torch.pi / 24)
        features = [
            query, description, history, query * description, history * description,
            self.geography(geography), self.language(language),
            torch.log(price.clamp(min=0.01)), torch.sin(angle), torch.cos(angle),
        ]
        return self.tower(torch.cat(features, dim=1))

    def forward(self, *inputs):
        return torch.sigmoid(self.logit(*inputs))


def train(inputs, clicks, epochs=8):
    torch.manual_seed(8)
    model = Clicks()
    inputs = [torch.from_numpy(a) for a in inputs.values()]
    clicks = torch.from_numpy(clicks)[:, None]
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(clicks)).split(256):
            logit = model.logit(*(a[rows] for a in inputs))
            loss = nn.functional.binary_cross_entropy_with_logits(logit, clicks[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    return model.eval()


def describe(v):
    return (
        f'query "{" ".join(v["query"])}", shown "{" ".join(v["shown"]["words"])}" at {v["price"]:.2f}, '
        f'{len(v["history"])} products bought, {v["country"]}, {v["language"]}, {v["hour"]:.1f} h'
    )


def main():
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    rng = np.random.default_rng(8)
    products = catalogue(rng)
    visits = [visit(rng, products) for _ in range(80_000)]
    truth = np.array([click_probability(v, products) for v in visits])
    clicks = (rng.random(len(visits)) < truth).astype(np.float32)
    test = slice(70_000, None)
    model = train(columns(visits[:70_000], products), clicks[:70_000])

    inputs = columns(visits[test], products)
    example = tuple(torch.from_numpy(a[:2]) for a in inputs.values())
    file = io.BytesIO()
    torch.onnx.export(
        model, example, file, dynamo=False, opset_version=17,
        input_names=list(inputs), output_names=["click_probability"],
        dynamic_axes={name: {0: "batch"} for name in [*inputs, "click_probability"]},
    )

    held_out = visits[test]

    def case(first, rows):
        about = describe(held_out[first]) if rows == 1 else f"{rows} visits"
        return about, {name: a[first : first + rows] for name, a in inputs.items()}

    unknown = {name: a[:1].copy() for name, a in inputs.items()}
    unknown["query"][0, :2], unknown["history"][0, 0], unknown["geography"][0] = [TOKENS, -1], PRODUCTS, 99
    cases = [case(i, 1) for i in range(10)] + [case(10, 2), case(12, 5), case(17, 16)]
    cases.append(("ids that the model does not know", unknown))
    session = publish("yarnit", onnx.load_from_string(file.getvalue()), DOC, cases)
    (probability,) = session.run(None, inputs)
    print(
        f"yarnit: test AUC {roc_auc_score(clicks[test], probability[:, 0]):.4f} on {len(held_out)} rows; "
        f"the rule that made the clicks has {roc_auc_score(clicks[test], truth[test]):.4f}; "
        f"{clicks[test].mean():.3f} of the rows are clicks"
    )


if __name__ == "__main__":
    main()
