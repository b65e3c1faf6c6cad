"""Refusals: each says what is wrong, where, and a way out; then the way out is followed.

A case is a folder, a command that is refused, words of the message, and what the message advises:
other commands, or the same one over changed files. `pytest --every-message` lists the messages
that no test makes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from importlib.metadata import EntryPoint
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from lossbench_cli import main
from PIL import Image

import lossbench
from lossbench.catalog import plugins
from lossbench.data.loading import sample
from lossbench.data.loading.records import read_tensors
from lossbench.data.pairing.pairs import Pair
from lossbench.engine import dask_engine, reader_pool
from lossbench.interface import weight_maps
from lossbench.interface.sample_batch import Input
from lossbench.networks.architectures import NETWORKS
from lossbench.networks.extractor import seeded
from lossbench.runtime import limits
from lossbench.views import features

Command = Callable[..., subprocess.CompletedProcess[str]]


class Case(NamedTuple):
    """A refused command and its way out."""

    command: str
    words: tuple[str, ...]  # of the message: what, which file or option, found, expected, advice
    advised: tuple[str, ...] = ()  # commands; () repeats the refused one
    files: Mapping[str, Any] = {}  # beside PAIRS; None removes a file
    mended: Mapping[str, Any] = {}  # files that the advice changes
    status: int = 2
    end: int = 0  # status of the advised commands; a gate's is 1


MASK = np.pad(np.full((8, 10), 255, np.uint8), 4)
GREY = np.arange(MASK.size, dtype=np.uint8).reshape(MASK.shape) // 2
LABELS = np.repeat(np.array([0, 1, 2], np.uint8), 6)[:, None].repeat(16, axis=1).T
COLOUR = np.dstack([GREY, MASK, GREY])
SOFT = GREY / np.float32(255)
PAIRS = {f"{folder}/{name}.png": array
         for folder, array in (("pred", GREY), ("gt", MASK)) for name in "ab"}  # fmt: skip
LABELLED = {f"{folder}/{name}.png": LABELS for folder in ("pred", "gt") for name in "ab"}
COCO: dict[str, Any] = {
    "images": [{"id": 1, "width": 20, "height": 20}],
    "categories": [{"id": 7, "name": "cat"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 1, 9, 9],
                     "area": 81, "iscrowd": 0}],
}  # fmt: skip
DETECTION = {"image_id": 1, "category_id": 7, "bbox": [1, 1, 9, 9], "score": 0.9}
BOXES = {"r.json": [DETECTION], "i.json": COCO}
MANIFEST = "pred,gt\npred/a.png,gt/a.png\n"
PLUGIN = "def own(pred, target):\n    return float(abs(pred - target).mean())\n"
OWN = "eval pred gt --plugin p.py -l own"


def sides(pred: Any = None, target: Any = None) -> dict[str, Any]:
    """Other pictures on one side of PAIRS, or on both."""
    arrays = {"pred": pred, "gt": target}
    return {f"{role}/{name}.png": array
            for role, array in arrays.items() if array is not None for name in "ab"}  # fmt: skip


def config(wrong: str, right: str, *words: str) -> Case:
    """A config that is refused, and one that is not."""
    return Case("eval pred gt -c c.yaml", ("c.yaml", *words), (), {"c.yaml": wrong},
                {"c.yaml": right})  # fmt: skip


def manifest(wrong: str, *words: str, right: str = MANIFEST) -> Case:
    """A manifest that is refused, and one that is not."""
    return Case("eval --manifest m.csv", ("m.csv", *words), (), {"m.csv": wrong},
                {"m.csv": right}, status=3)  # fmt: skip


def detection(change: Mapping[str, Any], *words: str) -> Case:
    """COCO's files with a change of the detection, or of the ground truth's keys."""
    truth = {key: value for key, value in change.items() if key in COCO}
    files = {
        "r.json": [{**DETECTION, **{key: change[key] for key in change.keys() - truth.keys()}}],
        "i.json": {**COCO, **truth},
    }
    files = json.loads(json.dumps(files))
    for each in (files["r.json"][0], files["i.json"]):
        for key in [key for key, value in each.items() if value is None]:
            del each[key]
    return Case("eval r.json i.json", words, (), files, BOXES, status=3)


def plugin(wrong: str, *words: str, right: str = PLUGIN) -> Case:
    """A plugin that is refused, and one that is not."""
    return Case(OWN, ("p.py", *words), (), {"p.py": wrong}, {"p.py": right})


def both(name: str, pred: Any, target: Any | None = None) -> dict[str, Any]:
    """A file of the same name on both sides, in place of PAIRS."""
    only = dict.fromkeys(PAIRS) | {
        f"pred/{name}": pred,
        f"gt/{name}": pred if target is None else target,
    }
    return only


def packed(files: Mapping[str, Any]) -> bytes:
    """A compressed archive of pictures."""
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, array in files.items():
            picture = BytesIO()
            Image.fromarray(array).save(picture, "PNG")
            member = tarfile.TarInfo(name)
            member.size = picture.tell()
            archive.addfile(member, BytesIO(picture.getvalue()))
    return out.getvalue()


def write(root: Path, files: Mapping[str, Any]) -> None:
    """Write files by the ending of their names."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink(missing_ok=True)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content)
        elif path.suffix == ".json":
            path.write_text(json.dumps(content))
        elif path.suffix == ".npy":
            np.save(path, content)
        elif path.suffix == ".npz":
            np.savez(path, **content)
        else:
            Image.fromarray(content).save(path)


RANDOM = np.random.default_rng(0).random((40, 40, 4), np.float32)
ALPHA = np.dstack([COLOUR, MASK])
FOLDERS: dict[str, Case] = {
    "wrong folder": Case(
        "eval prad gt", ("prad does not exist (pred)", "'pred'", "expected a folder"),
        ("eval pred gt",), status=3),
    "wrong folder of the truth": Case(
        "eval pred gtt", ("gtt does not exist (target)", "'gt'", "expected a folder"),
        ("eval pred gt",), status=3),
    "sizes differ": Case(
        "eval pred gt -l dice", ("pred/a.png is 9×8", "gt/a.png is 18×16", "--resize"),
        ("eval pred gt -l dice --resize nearest", "eval pred gt -l dice --resize bilinear"),
        {"pred/a.png": GREY[:8, :9]}, status=3),
    "volumes differ in length": Case(
        "eval pred gt -l dice", ("gt/v.npy has 18 classes", "reads 20", "--task binary"),
        ("eval pred gt -l dice --task binary",),
        both("v.npy", np.stack([SOFT] * 20), np.stack([MASK] * 18)),
        {"pred/v.npy": np.stack([SOFT] * 18)}, status=3),
    "prediction missing": Case(
        "eval pred gt -l dice", ("gt/a.png has no prediction in pred", "--missing skip"),
        ("eval pred gt -l dice --missing skip",), {"pred/a.png": None}, status=3),
    "truth missing": Case(
        "eval pred gt -l dice", ("pred/a.png has no ground truth in gt", "--extra skip"),
        ("eval pred gt -l dice --extra skip",), {"gt/a.png": None}, status=3),
    "two files of an id": Case(
        "eval pred gt -l dice",
        ("pred/a.bmp and pred/a.png have one id, 'a'", "--pred-pattern '{id}.bmp'"),
        ("eval pred gt -l dice --pred-pattern '{id}.png'",), {"pred/a.bmp": GREY}, status=3),
    "names with an ending": Case(
        "eval pred gt", ("'a_net'", "here 'a'", "--pred-pattern '{id}_net' (2 would match)"),
        ("eval pred gt --pred-pattern '{id}_net'",),
        {**dict.fromkeys(sides(GREY)), "pred/a_net.png": GREY, "pred/b_net.png": GREY}, status=3),
    "one folder twice": Case(
        "eval all all", ("--pred-pattern '{id}_pred'", "--gt-pattern '{id}_gt'"),
        ("eval all all --pred-pattern '{id}_pred' --gt-pattern '{id}_gt'",),
        {f"all/{name}_{role}.png": array for name in "ab"
         for role, array in (("pred", GREY), ("gt", MASK))}),
    "empty folder": Case(
        "eval e gt", ("e holds no image or array (pred)", "1 × hidden"), (), {"e/.keep": ""},
        {"e/a.png": GREY, "e/b.png": GREY}, status=3),
    "another format": Case(
        "eval e gt", ("e holds no image", "1 × .docx", ".png"), (), {"e/a.docx": "x"},
        {"e/a.png": GREY, "e/b.png": GREY}, status=3),
    "OpenEXR": Case(
        "eval e gt", ("2 × .exr", "numpy.save"), (), {"e/a.exr": "x", "e/b.exr": "x"},
        {"e/a.npy": SOFT, "e/b.npy": SOFT}, status=3),
    "text as picture": Case(
        "eval pred gt", ("pred/a.png is not an image", "'hello'", "write it again"), (),
        {"pred/a.png": "hello"}, {"pred/a.png": GREY}, status=3),
    "file and folder": Case(
        "eval pred/a.png gt", ("gt/b.png has no prediction in pred/a.png", "--missing skip"),
        ("eval pred/a.png gt/a.png", "eval pred/a.png gt --missing skip"), status=3),
    "pattern without id": Case(
        "eval pred gt --pred-pattern '*.png'", ("'*.png'", "expected {id}"),
        ("eval pred gt --pred-pattern '{id}.png'",)),
    "groups without braces": Case(
        "eval pred gt --group-by patient", ("--group-by patient", "--manifest", "'{patient}/"),
        ("eval pred gt --group-by '{patient}'",)),
    "groups of other ids": Case(
        "eval pred gt --group-by '{patient}/{slice}'", ("'a' does not fit --group-by",),
        ("eval pred gt --group-by '{patient}'",), status=3),
}  # fmt: skip
READINGS: dict[str, Case] = {
    "label without class": Case(
        "eval pred gt --classes sky,road",
        ("gt/a.png has value 2 in 96 pixels", "labels {0,1}", "--classes", "--ignore"),
        ("eval pred gt --classes sky,road,car",), {**sides(LABELS, LABELS)}, status=3),
    "channels or volume": Case(
        "eval pred gt -l dice", ("pred/v.npy has the shape 40×40×4", "--channels first"),
        ("eval pred gt -l dice --channels first", "eval pred gt -l dice --channels last",
         "eval pred gt -l dice --task binary"),
        both("v.npy", RANDOM, (RANDOM > 0.5).astype(np.uint8))),
    "axis of classes": Case(
        "eval pred gt", ("pred/v.npy has the shape 6×6×6", "--channels first"),
        ("eval pred gt --channels first", "eval pred gt --channels last"),
        both("v.npy", 6 * RANDOM[:6, :6].repeat(2, axis=2)[:, :, :6] - 3,
             np.arange(36, dtype=np.uint8).reshape(6, 6) % 6)),
    "colour where the truth is a mask": Case(
        "eval pred gt -l dice", ("dice", "image", "Image.convert('L')", "--classes"), (),
        sides(COLOUR), sides(GREY)),
    "alpha": Case(
        "eval pred gt -l dice", ("0, 255 (gt/a.png)", "colours (pred/a.png)", "alpha channel"),
        ("eval pred gt -l dice --gt-encoding mask --pred-encoding alpha",), sides(ALPHA)),
    "colour truth": Case(
        "eval pred gt -l dice", ("dice", "image", "Image.convert('L')", "--classes"), (),
        sides(None, COLOUR), sides(None, MASK)),
    "grey against colour": Case(
        "eval pred gt", ("pred/a.png is grey", "ground truth is in colour", "convert('L')"), (),
        sides(None, COLOUR), sides(COLOUR), status=3),
    "NaN in the truth": Case(
        "eval pred gt -l l1", ("gt/a.npy holds 80 values that are not finite", "--ignore nan"),
        ("eval pred gt -l l1 --ignore nan",),
        both("a.npy", SOFT, np.where(MASK, np.nan, SOFT)), status=3),
    "NaN in predictions": Case(
        "eval pred gt -l dice", ("pred/a.npy holds 80 values", "numpy.nan_to_num"), (),
        both("a.npy", np.where(MASK, np.nan, SOFT), MASK),
        {"pred/a.npy": np.nan_to_num(np.where(MASK, np.nan, SOFT))}, status=3),
    "logits as probabilities": Case(
        "eval pred gt -l dice --pred-encoding probability",
        ("pred/a.npy holds -4", "0 to 1", "--pred-encoding logits"),
        ("eval pred gt -l dice --pred-encoding logits",),
        both("a.npy", SOFT * 8 - 4, MASK), status=3),
    "12 bits": Case(
        "eval pred gt -l dice", ("pred/a.npy is uint16", "2032", "--pred-scale 4095"),
        ("eval pred gt -l dice --pred-scale 4095", "eval pred gt -l dice --pred-scale 65535"),
        both("a.npy", GREY.astype(np.uint16) * 16, MASK)),
    "two values of a mask": Case(
        "eval pred gt -l dice --input ignore=ig", ("ignore", "100, 200", "'ignore=ig@200'"),
        ("eval pred gt -l dice --input ignore=ig@200",),
        {"ig/a.png": LABELS * 100, "ig/b.png": LABELS * 100}),
    "classes of a binary task": Case(
        "eval pred gt --task binary --classes a,b,c", ("two classes", "3 are named"),
        ("eval pred gt --task binary --classes a,b",)),
    "ignored label": Case(
        "eval pred gt --ignore void", ("'void'", "250-255", "none"),
        ("eval pred gt --ignore 255", "eval pred gt --ignore none"),),
    "instances on masks": Case(
        "eval pred gt -l dice --task binary --things a", ("--things", "binary"),
        ("eval pred gt -l dice --task binary",)),
}  # fmt: skip
LOSSES: dict[str, Case] = {
    "unknown loss": Case("eval pred gt -l dicee", ("'dicee'", "'dice'"), ("eval pred gt -l dice",)),
    "unknown option": Case(
        "eval pred gt -l 'dice(smoth=1)'", ("'smoth'", "'smooth'", "it has"),
        ("eval pred gt -l 'dice(smooth=1)'",)),
    "option out of range": Case(
        "eval pred gt -l 'dice(smooth=-1)'", ("smooth is a number from 0, not -1",),
        ("eval pred gt -l 'dice(smooth=1)'",)),
    "loss of another task": Case(
        "eval pred gt -l dice --task image", ("dice", "an image task", "l1"),
        ("eval pred gt -l l1 --task image",)),
    "unknown family": Case(
        "losses --family overlpa", ("'overlpa'", "'overlap'"), ("losses --family overlap",)),
    "threshold of a soft loss": Case(
        "thresholds pred gt -l dice", ("dice is soft", "'dice(threshold=0.5)'", "dice_score"),
        ("thresholds pred gt -l 'dice(threshold=0.5)'", "thresholds pred gt -l dice_score"),
    ),
    "threshold of a loss without one": Case(
        "thresholds pred gt -l bce", ("bce has no threshold", "iou"),
        ("thresholds pred gt -l iou",),
    ),
    "thresholds of distances": Case(
        "thresholds pred gt -l hd95", ("hd95", "counts", "eval -l 'hd95(threshold=0.3)'"),
        ("eval pred gt -l 'hd95(threshold=0.3)'",),
    ),
    "thresholds with automatic weights": Case(
        "thresholds pred gt -l 'iou(class_weights=auto)'",
        ("class_weights=auto", "numbers instead"),
        ("thresholds pred gt -l 'iou(class_weights=[1])'",),
    ),
    "thresholds of mixed directions": Case(
        "thresholds pred gt -l 'm = iou + dice(threshold=0.5)'",
        ("m has no best", "one by one"),
        ("thresholds pred gt -l iou -l 'dice(threshold=0.5)'",),
    ),
    "thresholds of labels": Case(
        "thresholds pred gt", ("multiclass task has no threshold", "lossbench eval"),
        ("eval pred gt",), LABELLED,
    ),
    "thresholds of masks": Case(
        "thresholds pred gt", ("masks", "every threshold", "--pred-encoding probability"),
        ("thresholds pred gt --pred-encoding probability",), sides(pred=MASK),
    ),
    "thresholds of what is missing": Case(
        "thresholds pred gt --missing worst", ("--missing worst", "--missing skip"),
        ("thresholds pred gt --missing skip",), {"pred/b.png": None},
    ),
    "thresholds of detections": Case(
        "thresholds r.json i.json -l iou", ("precision, recall and F1", "without --loss"),
        ("thresholds r.json i.json",), BOXES,
    ),
    "IoU of masks": Case(
        "thresholds pred gt --iou 0.5", ("--iou is for detections", "without"),
        ("thresholds pred gt",),
    ),
    "thresholds of each image as text": Case(
        "thresholds pred gt --per-image a.csv", ("--per-image a.csv", ".parquet"),
        ("thresholds pred gt --per-image a.parquet",),
    ),
    "thresholds of each image nowhere": Case(
        "thresholds pred gt --per-image no/a.parquet", ("no/a.parquet", "folder no", "create"), (),
        {}, {"no/a.txt": "a folder"},
    ),
    "figure of another format": Case(
        "thresholds pred gt --plot a.gif", ("--plot a.gif", ".svg, .png, .pdf"),
        ("thresholds pred gt -o a.json",),
    ),
    "damages of detections": Case(
        "stress i.json", ("detection", "masks, label maps, instances and pictures"),
        ("stress gt -l dice",), BOXES,
    ),
    "figure of damages of another format": Case(
        "stress gt --plot a.gif", ("--plot a.gif", ".svg, .png, .pdf"),
        ("stress gt -l dice -o a.json",),
    ),
    "a loss of other tasks on damages": Case(
        "stress gt -l dice --task image", ("dice", "an image task", "l1"),
        ("stress gt -l l1 --task image",),
    ),
    "predictions of another size than what is damaged": Case(
        "stress gt -l dice --against pred", ("pred/a.png", "(8, 8)", "(16, 18)"), (),
        sides(pred=GREY[:8, :8]), sides(pred=GREY), status=3,
    ),
    "damages of an undecided truth": Case(
        "stress gt -l dice",
        ("ground truth to be read", "a graded mask: --gt-encoding probability"),
        ("stress gt -l dice --gt-encoding probability --pred-encoding probability",
         "stress gt --gt-encoding image --pred-encoding image -l l1",
         "stress gt -l dice --gt-encoding labels --pred-encoding labels --gt-scale 36"
         " --pred-scale 36"),
        sides(target=(GREY // 36 * 36).astype(np.uint8)),
    ),
    "a role that is needed": Case(
        "eval pred gt --task image -l cycle", ("cycle needs the role", "--input pred_back=DIR"),
        ("eval pred gt --task image -l cycle --input pred_back=pred --input target_back=gt",)),
    "unknown weight map": Case(
        "eval pred gt -l 'bce(weight_map=unett)'", ("'unett'", "'unet'"),
        ("eval pred gt -l 'bce(weight_map=unet)'",)),
    "class weights": Case(
        "eval pred gt -l 'cross_entropy(class_weights=[1,2])'", ("2 numbers for 3 classes",),
        ("eval pred gt -l 'cross_entropy(class_weights=[1,2,3])'",), sides(LABELS, LABELS)),
    "maps of pos_weight": Case(
        "eval pred gt -l 'bce(pos_weight=role)'", ("--input pos_weight=DIR",),
        ("eval pred gt -l 'bce(pos_weight=role)' --input pos_weight=gt",)),
    "unused pos_weight": Case(
        "eval pred gt -l bce --input pos_weight=gt", ("try bce(pos_weight=role)",),
        ("eval pred gt -l 'bce(pos_weight=role)' --input pos_weight=gt",)),
    "unused instances": Case(
        "eval pred gt -l bce --input instances=gt", ("try bce(weight_map=unet)",),
        ("eval pred gt -l 'bce(weight_map=unet)' --input instances=gt",)),
    "unknown role": Case(
        "eval pred gt --input wieght=gt", ("'wieght'", "'weight'"),
        ("eval pred gt --input weight=gt",)),
    "unused role": Case(
        "eval pred gt -l dice --input negative=gt", ("role negative", "triplet"),
        ("eval pred gt -l dice",)),
    "two losses of one name": Case(
        "eval pred gt -l x=dice -l x=bce", ("'x'", "different names"),
        ("eval pred gt -l x=dice -l y=bce",)),
    "unknown convention": Case(
        "eval pred gt --convention moani", ("'moani'", "'monai'"),
        ("eval pred gt --convention monai",)),
    "gradient of a task": Case(
        "gradcheck dice --task image", ("dice", "image", "binary"),
        ("gradcheck dice --task binary",)),
    "sort by a column": Case(
        "eval pred gt -l dice --sort iou", ("'iou'", "dice"),
        ("eval pred gt -l dice --sort dice",)),
}  # fmt: skip
GATES: dict[str, Case] = {
    "no comparison": Case(
        "eval pred gt --gate dice.mean", ("expected <",), ("eval pred gt --gate 'dice.mean<=1'",)),
    "reversed": Case(
        "eval pred gt --gate 'dice.mean>=0.2'", ("better when lower", "write `<=`"),
        ("eval pred gt --gate 'dice.mean<=0.2'",), end=1),
    "reversed for a score": Case(
        "eval pred gt --gate 'iou.mean<=0.8'", ("better when higher", "write `>=`"),
        ("eval pred gt --gate 'iou.mean>=0.8'",), end=1),
    "no aggregate": Case(
        "eval pred gt --gate 'dice<=1'", ("expected an aggregate", "dice.mean"),
        ("eval pred gt --gate 'dice.mean<=1'",)),
    "unknown aggregate": Case(
        "eval pred gt --gate 'dice.medan<=1'", ("'medan'", "'median'"),
        ("eval pred gt --gate 'dice.median<=1'",)),
    "no baseline": Case(
        "eval pred gt --gate 'dice.mean<=baseline'", ("dice.mean", "needs --baseline RUN"),
        ("eval pred gt --gate 'dice.mean<=baseline' --baseline base.json",)),
    "no groups": Case(
        "eval pred gt --gate 'dice.group_mean<=1'", ("needs --group-by PATTERN",),
        ("eval pred gt --gate 'dice.group_mean<=1' --group-by '{id}'",)),
    "class of a binary task": Case(
        "eval pred gt --gate 'iou[x].mean>=0'", ("no class columns here", "without [x]"),
        ("eval pred gt --gate 'iou.mean>=0'",)),
    "unknown class": Case(
        "eval pred gt --classes sky,road,car --gate 'iou[rod].mean>=0'", ("'rod'", "'road'"),
        ("eval pred gt --classes sky,road,car --gate 'iou[road].mean>=0'",),
        sides(LABELS, LABELS)),
    "baseline that is not there": Case(
        "eval pred gt --gate 'dice.mean<=baseline' --baseline bas.json",
        ("baseline bas.json cannot be read", "'base.json'"),
        ("eval pred gt --gate 'dice.mean<=baseline' --baseline base.json",), status=3),
    "baseline of another loss": Case(
        "eval pred gt -l iou --gate 'iou.mean>=baseline' --baseline base.json",
        ("base.json", "iou.mean", "dice"),
        ("eval pred gt -l dice --gate 'dice.mean<=baseline' --baseline base.json",)),
    "damaged baseline": Case(
        "eval pred gt --gate 'dice.mean<=baseline' --baseline bad.json",
        ("baseline bad.json cannot be read", "write it again"),
        ("eval pred gt --gate 'dice.mean<=baseline' --baseline base.json",), {"bad.json": "{"},
        status=3),
    "baseline as output": Case(
        "eval pred gt -l dice --gate 'dice.mean<=baseline' --baseline base.json -o base.json",
        ("base.json is the baseline", "--force"),
        ("eval pred gt -l dice --gate 'dice.mean<=baseline' --baseline base.json -o base.json"
         " --force",)),
}  # fmt: skip
SETTINGS: dict[str, Case] = {
    "unknown preset": Case(
        "eval pred gt -c binry", ("'binry'", "'binary'"), ("eval pred gt -c binary",)),
    "unknown key": config("loses: [dice]\n", "losses: [dice]\n", "1:1", "'loses'", "'losses'"),
    "key of a section": config(
        "workers: 2\n", "run: {workers: 2}\n", "1:1", "'workers'", "'run.workers'"),
    "value of a key": config(
        "run:\n  workers: many\n", "run: {workers: 2}\n", "2:12", "auto or a whole", "'many'"),
    "half a list": config("losses: [dice\n", "losses: [dice]\n", "2:1", "expected ',' or ']'"),
    "key twice": config(
        "losses: [dice]\nlosses: [iou]\n", "losses: [dice, iou]\n", "2:1", "twice", "line 1"),
    "list as config": config("- dice\n", "losses: [dice]\n", "1:1", "`losses: [dice]`", "a list"),
    "config that is not there": Case(
        "eval pred gt -c ./c.yaml", ("config ./c.yaml cannot be read", "'./cc.yaml'"),
        ("eval pred gt -c ./cc.yaml",), {"cc.yaml": "losses: [dice]\n"}),
    "classes that are not there": Case(
        "eval pred gt --classes c.yaml", ("c.yaml does not exist", "'cc.yaml'"),
        ("eval pred gt --classes cc.yaml",),
        {**sides(LABELS, LABELS), "cc.yaml": "{0: a, 1: b, 2: c}\n"}, status=3),
    "damaged classes in YAML": Case(
        "eval pred gt --classes c.yaml", ("c.yaml, line 2", "expected ',' or '}'", "0: sky"), (),
        {**sides(LABELS, LABELS), "c.yaml": "{0: a\n"}, {"c.yaml": "0: a\n1: b\n2: c\n"}),
    "damaged classes in JSON": Case(
        "eval pred gt --classes c.json", ("c.json", "no JSON", '{"0": "sky"'), (),
        {**sides(LABELS, LABELS), "c.json": "{0: a"}, {"c.json": {"0": "a", "1": "b", "2": "c"}}),
    "unquoted classes": Case(
        "eval pred gt --classes '{0: a,'", ("classes cannot be read", "quote the whole option"),
        ("eval pred gt --classes '{0: a, 1: b, 2: c}'",), sides(LABELS, LABELS)),
    "unknown weights": Case(
        "eval pred gt -l dice --weights vgg=x.pth", ("'vgg'", "vgg16"), ("eval pred gt -l dice",)),
    "shard out of range": Case(
        "eval pred gt -l dice --shard 3/2 -o s.json", ("'3/2'", "I from 1 to N"),
        ("eval pred gt -l dice --shard 2/2 -o s.json",)),
    "shard without output": Case(
        "eval pred gt -l dice --shard 1/2", ("--shard needs --output", ".json"),
        ("eval pred gt -l dice --shard 1/2 --output s.json",)),
    "resume without output": Case(
        "eval pred gt -l dice --resume", ("--resume needs the --output",),
        ("eval pred gt -l dice --resume --output r.json",)),
    "output of no format": Case(
        "eval pred gt -o r.docx", ("r.docx", "ending", ".json"), ("eval pred gt -o r.json",)),
    "output as a page": Case(
        "eval pred gt -o r.html", ("r.html", "lossbench report RUN -o FILE.html"),
        ("report base.json -o r.html",)),
    "output in no folder": Case(
        "eval pred gt -o new/r.json", ("new/r.json", "new does not exist", "create it"), (), {},
        {"new/.keep": ""}),
    "page of a table": Case(
        "report run.csv", ("run.csv", "no result is read from .csv", "-o run.json"),
        ("report base.json",), {"run.csv": "id,dice\na,1\n"}, status=3),
    "one result to compare": Case(
        "compare base.json", ("two results or more",), ("compare base.json base.json",)),
    "a loss that no result has": Case(
        "compare base.json base.json -l dise", ("'dise'", "'dice'"),
        ("compare base.json base.json -l dice",)),
    "a change on the wrong side": Case(
        "compare base.json base.json --gate 'dice.difference>=0'",
        ("better when lower", "write `<=`"),
        ("compare base.json base.json --gate 'dice.difference<=0'",)),
    "a verdict as a number": Case(
        "compare base.json base.json --gate 'dice.verdict<=worse'", ("no number", "== or !="),
        ("compare base.json base.json --gate 'dice.verdict!=worse'",)),
    "an aggregate of a comparison": Case(
        "compare base.json base.json --gate 'dice.mean<=0.1'", ("no 'mean'", "difference"),
        ("compare base.json base.json --gate 'dice.difference<=0.1'",)),
    "a margin of nothing": Case(
        "compare base.json base.json --margin dice=0", ("margin of dice is 0", "above 0"),
        ("compare base.json base.json --margin dice=0.1",)),
    "pictures as a result": Case(
        "report base.json base.json", ("base.json is a second result", "lossbench compare"),
        ("compare base.json base.json",)),
}  # fmt: skip
EPOCHS = {f"e{number}/{name}.png": GREY for number in (1, 2) for name in "ab"}
LOG = "epoch,val_loss,train_loss\n1,0.5,0.4\n2,0.4,0.3\n"
OF_EPOCHS = "trend --pattern 'e{n}' gt -l dice"
TRENDS: dict[str, Case] = {
    "no epochs": Case(
        "trend", ("RUN...", "--pattern with GT"), ("trend base.json", OF_EPOCHS), EPOCHS),
    "no number in a pattern": Case(
        "trend --pattern 'e*' gt -l dice", ("e* has no {n}", "'runs/epoch_{n}/pred'"),
        (OF_EPOCHS,), EPOCHS),
    "a pattern of URLs": Case(
        "trend --pattern 's3://b/{n}' gt", ("s3://b/{n} is a URL", "lossbench eval -o"),
        ("eval pred gt -o r.json", "trend r.json")),
    "a pattern that the shell expanded": Case(
        "trend --pattern e1 e2 gt", ("found 2", "quote the pattern"), (OF_EPOCHS,), EPOCHS),
    "a pattern that nothing fits": Case(
        "trend --pattern 'x/f{n}' gt", ("nothing fits --pattern x/f{n}", "x has f_1"),
        ("trend --pattern 'x/f_{n}' gt -l dice",),
        {"x/f_1/a.png": GREY, "x/f_1/b.png": GREY}, status=3),
    "a pattern that is too long": Case(
        f"trend --pattern '{'x' * 300}/e{{n}}' gt", ("cannot be read", "give a shorter name"),
        (OF_EPOCHS,), EPOCHS, status=3),
    "two epochs of a number": Case(
        "trend --pattern 'e{n}.png' gt/a.png -l dice", ("are both epoch 1", "rename or move one"),
        (), {"e1.png": GREY, "e01.png": GREY}, {"e01.png": None}),
    "predictions without a truth": Case(
        "trend --pattern 'e{n}'", ("need GT", "lossbench trend --pattern 'e{n}' GT"),
        (OF_EPOCHS,), EPOCHS),
    "a cache that cannot be": Case(
        OF_EPOCHS + " --cache gt/a.png", ("gt/a.png cannot keep the results", "--cache DIR"),
        (OF_EPOCHS + " --cache c",), EPOCHS, status=4),
    "a setting for results": Case(
        "trend base.json --task binary", ("--task is for --pattern", "omit it"),
        ("trend base.json",)),
    "an end without a watch": Case(
        OF_EPOCHS + " --until 2", ("--until ends --watch",),
        (OF_EPOCHS, OF_EPOCHS + " --until 2 --watch"), EPOCHS),
    "a watch without a pattern": Case(
        "trend base.json --watch", ("--watch needs --pattern",), ("trend base.json",)),
    "a wrong number of epochs": Case(
        "trend base.json --last few", ("N|all", "'few'"), ("trend base.json --last all",)),
    "a trend over its result": Case(
        "trend base.json -o base.json", ("base.json is one of the results", "another file"),
        ("trend base.json -o t.json",)),
    "a figure of another format": Case(
        "trend base.json --plot t.gif", ("t.gif", ".svg, .png, .pdf"),
        ("trend base.json --plot t.svg",)),
    "a table among results": Case(
        "trend base.json log.csv", ("log.csv is a table of all epochs", "give it alone"),
        ("trend log.csv --column val_loss", "trend base.json"), {"log.csv": LOG}),
    "a column of results": Case(
        "trend base.json --column dice", ("--column dice is for a CSV", "--loss"),
        ("trend base.json --loss dice",)),
    "a column of a pattern": Case(
        OF_EPOCHS + " --column dice", ("--column is for a CSV", "--pattern has --loss"),
        (OF_EPOCHS,), EPOCHS),
    "a loss of a table": Case(
        "trend log.csv --loss val_loss", ("--loss val_loss is for results", "--column"),
        ("trend log.csv --column val_loss",), {"log.csv": LOG}),
    "no column": Case(
        "trend log.csv", ("name a column with --column", "val_loss, train_loss"),
        ("trend log.csv --column val_loss",), {"log.csv": LOG}),
    "another column": Case(
        "trend log.csv --column val_los", ("no column 'val_los'", "'val_loss'"),
        ("trend log.csv --column val_loss",), {"log.csv": LOG}),
    "a table that is not there": Case(
        "trend lag.csv --column val_loss", ("lag.csv cannot be read", "'log.csv'"),
        ("trend log.csv --column val_loss",), {"log.csv": LOG}, status=3),
    "an empty table": Case(
        "trend log.csv --column val_loss", ("no row below its headings",), (),
        {"log.csv": "epoch,val_loss\n"}, {"log.csv": LOG}, status=3),
    "no number in a table": Case(
        "trend log.csv --column val_loss", ("val_loss of row 1 is 'x'", "expected numbers"), (),
        {"log.csv": "epoch,val_loss\n1,x\n"}, {"log.csv": LOG}, status=3),
    "half an epoch": Case(
        "trend log.csv --column val_loss", ("row 1 has epoch 1.5", "whole number"), (),
        {"log.csv": "epoch,val_loss\n1.5,1\n"}, {"log.csv": LOG}, status=3),
    "a training without its table": Case(
        "trend base.json --train-column t", ("--train-column t needs --train FILE",),
        ("trend base.json --train log.csv --train-column train_loss",), {"log.csv": LOG}),
    "two tables of the training": Case(
        "trend base.json --train log.csv --train log.csv --train-column train_loss",
        ("--train log.csv is a table", "alone"),
        ("trend base.json --train log.csv --train-column train_loss",), {"log.csv": LOG}),
    "columns of training results": Case(
        "trend base.json --train base.json --train-column dice", ("--train-column is for a CSV",),
        ("trend base.json --train base.json",)),
    "too few columns of the training": Case(
        "trend log.csv --column val_loss --train log.csv --train-column a --train-column b",
        ("2 --train-columns for 1 loss (val_loss)", "one for each"),
        ("trend log.csv --column val_loss --train log.csv --train-column train_loss",),
        {"log.csv": LOG}),
    "a training of other epochs": Case(
        "trend log.csv --column val_loss --train t.csv",
        ("t.csv has epochs 7 to 7", "1 to 2", "same epochs"),
        ("trend log.csv --column val_loss --train log.csv",),
        {"log.csv": LOG, "t.csv": "epoch,train_loss\n7,1\n"}),
}  # fmt: skip
MANIFESTS: dict[str, Case] = {
    "other columns": manifest(
        "image,truth\npred/a.png,gt/a.png\n", "line 1", "'pred'", "id,pred,gt", "image, truth"),
    "empty manifest": manifest("", "is empty", "id,pred,gt"),
    "header alone": manifest("pred,gt\n", "no line below its header", "one for each pair"),
    "short line": manifest("pred,gt\npred/a.png\n", "line 2 has 1 cells", "header has 2"),
    "comma in a name": manifest(
        "pred,gt\npred/a,1.png,gt/a.png\n", "line 2 has 3 cells", "in quotes",
        right='pred,gt\n"pred/a.png",gt/a.png\n'),
    "two lines of an id": manifest(
        "id,pred,gt\na,pred/a.png,gt/a.png\na,pred/b.png,gt/b.png\n", "line 2 and line 3", "'a'",
        "column 'id'", right="id,pred,gt\na,pred/a.png,gt/a.png\nb,pred/b.png,gt/b.png\n"),
    "column twice": manifest(
        "pred,pred,gt\npred/a.png,pred/a.png,gt/a.png\n", "line 1", "two columns", "'pred'"),
    "a cell without text": Case(
        "eval --manifest m.csv", ("m.csv line 3", "'pred' is empty", "--missing skip"),
        ("eval --manifest m.csv --missing skip",), {"m.csv": MANIFEST + ",gt/b.png\n"}, status=3),
    "a file that is not there": Case(
        "eval --manifest m.csv", ("pred/z.png does not exist",), (),
        {"m.csv": MANIFEST.replace("d/a", "d/z")}, {"m.csv": MANIFEST}, status=3),
    "manifest and folders": Case(
        "eval pred gt --manifest m.csv", ("give PRED and GT or --manifest",),
        ("eval pred gt", "eval --manifest m.csv"), {"m.csv": MANIFEST}),
    "unknown column of groups": Case(
        "eval --manifest m.csv --group-by patint", ("m.csv line 1", "patint", "'patient'"),
        ("eval --manifest m.csv --group-by patient",),
        {"m.csv": "pred,gt,patient\npred/a.png,gt/a.png,1\n"}),
    "manifest that is not there": Case(
        "eval --manifest n.csv", ("n.csv cannot be read", "'m.csv'"), ("eval --manifest m.csv",),
        {"m.csv": MANIFEST}, status=3),
}  # fmt: skip
DETECTIONS: dict[str, Case] = {
    "no score": detection(
        {"score": None}, "r.json: detection 1 (image_id 1) has no score", "category_id, score"),
    "no list of categories": detection({"categories": None}, "i.json", "'categories'"),
    "another category": detection({"category_id": 1}, "r.json", "category_id 1", "it has 7"),
    "another image": detection({"image_id": 9}, "r.json", "image_id 9", "ids are 1"),
    "negative width": detection({"bbox": [1, 1, -2, 3]}, "r.json", "[1, 1, -2, 3]", "below 0"),
    "three numbers of a box": detection({"bbox": [1, 1, 2]}, "r.json", "x, y, width, height"),
    "swapped": Case(
        "eval i.json r.json", ("r.json is of another kind", "a list", "PRED first, then GT"),
        ("eval r.json i.json",), BOXES, status=3),
    "boxes on another task": Case(
        "eval r.json i.json --task binary -l dice", ("a detection task, not for binary",),
        ("eval r.json i.json --task detection",), BOXES),
    "no JSON": Case(
        "eval r.json i.json", ("r.json cannot be read", "no JSON"), (), {**BOXES, "r.json": "[{"},
        BOXES, status=3),
    "one folder and one JSON": Case(
        "eval pred i.json", ("both JSON files", "results.json"), ("eval r.json i.json",), BOXES),
    "classes beside COCO's": Case(
        "eval r.json i.json --classes cat", ("leave out --classes",), ("eval r.json i.json",),
        BOXES),
}  # fmt: skip
PLUGINS: dict[str, Case] = {
    "syntax": plugin("def own(pred, target)\n    return 1\n", "line 1", "expected ':'"),
    "no loss": plugin("x = 1\n", "no loss", "def my_loss(pred, target)"),
    "plugin that is not there": Case(
        OWN, ("p.py cannot be read", "No such file"), (), {}, {"p.py": PLUGIN}),
    "array returned": Case(
        OWN, ("own", "expected one number"), (),
        {"p.py": "def own(pred, target):\n    return abs(pred - target)\n"}, {"p.py": PLUGIN},
        status=3),
}  # fmt: skip
ONE = np.zeros((8, 8, 3), np.uint8) + np.array([1, 0, 0], np.uint8)
SEGMENTS = {
    "images": [{"id": 1, "file_name": "a.png"}],
    "annotations": [{"image_id": 1, "file_name": "a.png",
                     "segments_info": [{"id": 1, "category_id": 7, "iscrowd": 0}]}],
    "categories": [{"id": 7, "name": "cat", "isthing": 1}],
}  # fmt: skip
PANOPTIC = {"p.json": SEGMENTS, "t.json": SEGMENTS, "p/a.png": ONE, "t/a.png": ONE}
VECTORS = {**dict.fromkeys(PAIRS), **{f"{role}/{name}.npy": np.arange(3.0) + len(role)
                                      for name in "ab" for role in ("pred", "gt")}}  # fmt: skip
ALIASES = f"x: &a [{'1,' * 10}]\ny: &b [{'*a,' * 100}]\nlosses: [{'*b,' * 200}]\n"
THIRDS = np.full((3, 16, 18), 1 / 3, np.float32)
EMBEDDED = "eval pred gt --task vectors -l contrastive --input same=same"
SAME = {"same/a.npy": np.array([1]), "same/b.npy": np.array([0])}
TRUE_BOXES = {"boxes": np.array([[1.0, 1, 5, 5]]), "labels": np.array([0])}
RATED = {**TRUE_BOXES, "scores": np.array([0.5])}
BOX_FILES = {**dict.fromkeys(PAIRS), "pred/a.npz": RATED, "gt/a.npz": TRUE_BOXES,
             "pred/b.npz": RATED, "gt/b.npz": {**TRUE_BOXES, "labels": np.array([1])}}  # fmt: skip
SEGM = "eval pred gt --task detection -l 'average_precision_boxes(iou_type=segm)'"
TINY = "network=tiny_seeded, layers=[relu1_2]"
RECORDS_PLUGIN = """from lossbench.plugin_api import PerSample, Tensors, loss
@loss(tasks=['records'])
def own(pred: Tensors, target: Tensors) -> PerSample:
    return (pred['x'] - target['x']).mean(1)
"""
RARE: dict[str, Case] = {
    "manifest as output": Case(
        "eval --manifest m.csv -o m.csv", ("--output m.csv is the manifest",),
        ("eval --manifest m.csv -o r.csv",), {"m.csv": MANIFEST}),
    "option of a plugin": plugin(
        "def own(pred, target, *, k):\n    return 1.0\n", "k has no default"),
    "aliases in a config": config(ALIASES, "losses: [dice]\n", "more than 100,000 values"),
    "aliases in classes": Case(
        "eval pred gt --classes c.yaml", ("c.yaml", "more than 100,000 values"), (),
        {**sides(LABELS, LABELS), "c.yaml": ALIASES}, {"c.yaml": "[a, b, c]"}),
    "classes too deep": Case(
        "eval pred gt --classes c.yaml", ("c.yaml", "nested too deep"), (),
        {**sides(LABELS, LABELS), "c.yaml": "[" * 20000}, {"c.yaml": "[a, b, c]"}),
    "two names of a colour": Case(
        "eval pred gt --classes '{a: \"#00ff00\", b: \"#00ff00\"}'",
        ("one stored value", "two names"),
        ("eval pred gt --classes '{a: \"#00ff00\", b: \"#00ffff\"}'",),
        sides(np.zeros_like(COLOUR) + np.array([0, 255, 0], np.uint8),
              np.zeros_like(COLOUR) + np.array([0, 255, 0], np.uint8))),
    "two truths": Case(
        "eval i.json i.json --task detection", ("i.json", "no list", "COCO's results format"),
        ("eval r.json i.json",), BOXES, status=3),
    "no images": Case(
        "eval r.json i.json",
        ("i.json lists no picture in 'images'", "expected COCO's instances format"), (),
        {"r.json": [], "i.json": {**COCO, "images": [], "annotations": []}}, BOXES, status=3),
    "JSON far away": Case(
        "eval memory://p.json memory://t.json", ("memory://p.json is a URL", "copy it"),
        ("eval p.json t.json",), PANOPTIC, status=3),
    "classes beside panoptic JSON": Case(
        "eval p.json t.json --classes cat", ("leave out --classes",), ("eval p.json t.json",),
        PANOPTIC),
    "damages of panoptic JSON": Case(
        "stress t.json", ("panoptic JSON", "--task instances"),
        ("stress t --task instances",), PANOPTIC,
    ),
    "threshold of labels": Case(
        "eval pred gt -l dice --gt-threshold 0.5 --gt-encoding labels",
        ("--gt-threshold", "read as labels", "--gt-encoding probability"),
        ("eval pred gt -l dice --gt-threshold 0.5 --gt-encoding probability",)),
    "too many labels": Case(
        "eval pred gt --gt-encoding labels --pred-encoding labels",
        ("labels go up to 5,000", "4,096", "--classes", "--gt-encoding image"),
        ("eval pred gt --classes '{0: a, 5000: b}' --gt-encoding labels --pred-encoding labels",),
        both("a.npy", np.where(MASK, np.uint16(5000), np.uint16(0)))),
    "classes of arrays": Case(
        "eval pred gt --classes a,b", ("2 classes are named, arrays hold 3", "name each"),
        ("eval pred gt --classes a,b,c",),
        both("v.npy", THIRDS, np.arange(16 * 18, dtype=np.uint8).reshape(16, 18) % 3)),
    "colours with a divisor": Case(
        "eval pred gt -l pq --divisor 1000",
        ("colours as labels need their classes", "--classes '{24: person"),
        ("eval pred gt -l pq --divisor 1000 --classes '{0: a}'",), sides(ONE, ONE)),
    "a name too long": Case(
        f"eval {'x' * 300} gt",
        ("xxx cannot be read (pred): File name too long; give a shorter name",),
        ("eval pred gt",), status=3),
    "a URL that needs a package": Case(
        "eval gs://b/p gs://b/t", ("gs://b/p needs a package", "gcsfs"), ("eval pred gt",),
        status=3),
    "no such GPU": Case(
        "eval pred gt -l hd95 --device cuda:77", ("'cuda:77' cannot be used", "--device cpu"),
        ("eval pred gt -l hd95 --device cpu",)),
    "a result too deep": Case(
        "report x.json", ("x.json cannot be read", "nested too deep"), ("report base.json",),
        {"x.json": "[" * 200000}, status=3),
    "classes of two sizes": Case(
        "eval pred gt --pred-pattern '{id}_{class}.png' --gt-pattern '{id}_{class}.png'",
        ("pred/a_y.png is 18×8 where pred/a_x.png is 18×16", "in one size"), (),
        {**dict.fromkeys(PAIRS), "pred/a_x.png": GREY, "pred/a_y.png": GREY[:8],
         "gt/a_x.png": MASK, "gt/a_y.png": MASK}, {"pred/a_y.png": GREY}, status=3),
    "weights in colour": Case(
        "eval pred gt -l bce --input weight=w", ("w/a.png is a colour picture", "in grey"), (),
        {"w/a.png": COLOUR, "w/b.png": COLOUR}, {"w/a.png": GREY, "w/b.png": GREY}, status=3),
    "a style": Case(
        "eval pred gt --task image -l 'gram(network=tiny_seeded, layers=[relu1_2], against=style)'",
        ("role style", "--input style=DIR"),
        ("eval pred gt --task image -l 'gram(network=tiny_seeded, layers=[relu1_2], against=style)'"
         " --input style=gt",)),
    "identity": Case(
        "eval pred gt --task image -l identity --input target_back=gt",
        ("identity needs the role", "--input pred_back=DIR"),
        ("eval pred gt --task image -l identity --input pred_back=pred --input target_back=gt",)),
    "a file of weights that is not there": Case(
        "eval pred gt --task image -l 'content(network=squeezenet, layers=[relu1])'"
        " --weights squeezenet=w.pth",
        ("--weights squeezenet=w.pth", "no such file"),
        ("eval pred gt --task image -l 'perceptual(network=tiny_seeded)'",), status=3),
    "no thresholds of boxes": Case(
        "eval r.json i.json -l 'average_precision_boxes(iou_thresholds=[])'",
        ("iou_thresholds=[] has no threshold", "none"),
        ("eval r.json i.json -l 'average_precision_boxes(iou_thresholds=none)'",), BOXES),
    "vectors of no length": Case(
        EMBEDDED, ("pred/b.npy holds no number",), (),
        {**VECTORS, **SAME, **{name: np.zeros(0) for name in VECTORS if name.endswith("npy")}},
        VECTORS, status=3),
    "labels of boxes with fractions": Case(
        "eval pred gt --task detection", ("gt/b.npz", "labels that are not finite"), (),
        {**BOX_FILES, "gt/b.npz": {**TRUE_BOXES, "labels": np.array([np.nan])}}, BOX_FILES,
        status=3),
    "option of a formal plugin": plugin(
        "from lossbench.plugin_api import PerSample, Probability\n"
        "def own(pred: Probability, target: Probability, *, k: float) -> PerSample: ...\n",
        "line 2", "k has no default"),
    "a third value of a mask": Case(
        "eval pred gt -l pq --gt-encoding mask --pred-encoding mask",
        ("pred/b.png has value 128", "mask {0,255}"), (),
        {**sides(MASK, MASK), "pred/b.png": np.where(MASK, np.uint8(128), np.uint8(0)),
         "pred/c.png": MASK, "gt/c.png": MASK},
        {"pred/b.png": MASK}, status=3),
    "a label among many classes": Case(
        "eval pred gt --classes 3000 --gt-encoding labels --pred-encoding labels",
        ("pred/a.npy has value 3500", "--classes"),
        ("eval pred gt --classes 3501 --gt-encoding labels --pred-encoding labels",),
        both("a.npy", np.where(MASK, np.uint16(3500), np.uint16(0)), LABELS.astype(np.uint16)),
        status=3),
    "a predicted label at distances": Case(
        "eval pred gt -l hd95 --classes 3 --gt-encoding labels --pred-encoding labels",
        ("pred/a.png has values 5, 6, 7", "--classes"),
        ("eval pred gt -l hd95 --classes 8 --gt-encoding labels --pred-encoding labels",),
        {**sides(LABELS, LABELS), "pred/a.png": LABELS + 5}, status=3),
    "a true label at distances": Case(
        "eval pred gt -l hd95 --classes 3 --gt-encoding labels --pred-encoding labels",
        ("gt/a.png has values 5, 6, 7", "--classes"),
        ("eval pred gt -l hd95 --classes 8 --gt-encoding labels --pred-encoding labels",),
        {**sides(LABELS, LABELS), "gt/a.png": LABELS + 5}, status=3),
    "an archive that Dask's workers cannot read": Case(
        "eval a.tar.gz/pred a.tar.gz/gt -l dice --engine tcp://127.0.0.1:1",
        ("a.tar.gz is unpacked on this machine", "a .zip or a .tar"),
        ("eval a.tar.gz/pred a.tar.gz/gt -l dice",), {"a.tar.gz": packed(PAIRS)}),
    "masks of two sizes": Case(
        SEGM, ("pred/a.npz has masks of 8×8", "9×9"), (),
        {**BOX_FILES, "pred/a.npz": {**RATED, "masks": np.ones((1, 8, 8), np.uint8)},
         "gt/a.npz": {**TRUE_BOXES, "masks": np.ones((1, 9, 9), np.uint8)}, "pred/b.npz": None,
         "gt/b.npz": None},
        {"pred/a.npz": {**RATED, "masks": np.ones((1, 9, 9), np.uint8)}}, status=3),
    "labels of boxes without end": Case(
        "eval pred gt --task detection", ("boxes have 5,000 labels", "4,096"), (),
        {**BOX_FILES, "gt/a.npz": {"boxes": np.ones((5000, 4)), "labels": np.arange(5000)}},
        BOX_FILES),
    "nothing in records": Case(
        "eval pred gt --task records -l own --plugin p.py", ("nothing to read (pred)",), (),
        {**dict.fromkeys(PAIRS), "p.py": RECORDS_PLUGIN, "pred/a.npz": {}, "gt/a.npz": {}},
        {"pred/a.npz": {"x": np.ones(3)}, "gt/a.npz": {"x": np.ones(3)}}, status=3),
    "a divisor too small": Case(
        "eval pred gt -l pq --divisor 2", ("class · 2 + instance", "is the divisor right?"),
        ("eval pred gt -l pq --divisor 100000",),
        {**dict.fromkeys(PAIRS), **{
            f"{role}/{n}.npy": (np.arange(1 << 14) + 100_000 + (n << 14)).reshape(128, 128)
            for n in range(4) for role in ("pred", "gt")}}),
    "a style of another size": Case(
        f"eval pred gt --task image -l 'content({TINY}, against=style)' --input style=s",
        ("differs in size", "gram"),
        (f"eval pred gt --task image -l 'gram({TINY}, against=style)' --input style=s",),
        {f"s/{name}.png": GREY.repeat(2, axis=0).repeat(2, axis=1) for name in "ab"}, status=3),
    "subpixels of four axes": Case(
        "eval pred gt -l 'hd95(surface=subpixel)' --task binary", ("2 or 3 axes", "has 4"),
        ("eval pred gt -l hd95 --task binary",),
        both("a.npy", np.ones((8, 8, 8, 8), np.uint8))),
    "gradient of a plugin": Case(
        "gradcheck own --plugin p.py", ("no such thing",), (), {
            "p.py": "from lossbench.plugin_api import SettingError\n"
            "import torch\ndef own(pred: torch.Tensor, target: torch.Tensor):\n"
            "    raise SettingError('no such thing')\n"},
        {"p.py": "import torch\ndef own(pred: torch.Tensor, target: torch.Tensor):\n"
         "    return (pred - target).square().mean()\n"}),
    "boxes without labels": Case(
        "eval pred gt --task detection", ("pred/b.npz has no labels", "several classes"), (),
        {**BOX_FILES, "pred/b.npz": {key: RATED[key] for key in ("boxes", "scores")}}, BOX_FILES,
        status=3),
}  # fmt: skip
TABLES = (RARE, FOLDERS, READINGS, LOSSES, GATES, SETTINGS, MANIFESTS, DETECTIONS, PLUGINS,
          TRENDS)  # fmt: skip
CASES = {name: case for table in TABLES for name, case in table.items()}


@pytest.mark.parametrize("name", CASES)
def test_the_way_out_of_a_refusal_works(
    name: str, tmp_path: Path, lossbench_command: Command
) -> None:
    case = CASES[name]

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return lossbench_command(*shlex.split(command), cwd=tmp_path)

    write(tmp_path, PAIRS)
    if "base.json" in " ".join((case.command, *case.advised)):
        assert run("eval pred gt -l dice -o base.json").returncode == 0
    write(tmp_path, case.files)
    refused = run(case.command)
    assert "Traceback" not in refused.stderr
    assert refused.returncode == case.status, refused.stderr
    assert [each for each in case.words if each not in refused.stderr] == [], refused.stderr
    new = {each for command in case.advised for each in shlex.split(command)}
    flags = {each for each in new - set(shlex.split(case.command)) if each.startswith("--")}
    assert [each for each in flags if each not in refused.stderr] == [], refused.stderr
    write(tmp_path, case.mended)
    for command in case.advised or (case.command,):
        done = run(command)
        assert done.returncode == case.end, f"{command}: {done.stderr}"


# Annotations that a plugin wrongly uses on a binary task: what they import, and the message.
FORMS = {
    "boxes: BoxPairs": ("views.boxes import BoxPairs", "needs boxes: --task detection"),
    "pred: Label, target: Label": ("plugin_api import Label", "one number per sample"),
    "pred: Tensors, target: Tensors": ("plugin_api import Tensors", "--task records"),
    "found: RankedDetections": ("views.ranked_detections import RankedDetections", "detections"),
    "matched: Segments": ("views.segments import Segments", "needs instance maps"),
    "pool: Gallery": ("interface.annotations import Gallery", "--task vectors"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_another_task_is_refused(
    form: str, tmp_path: Path, lossbench_command: Command
) -> None:
    module, message = FORMS[form]
    text = f"""from lossbench.plugin_api import PerSample, loss
from lossbench.{module}

@loss(tasks=['binary'])
def own({form}) -> PerSample:
    return 1
"""
    write(tmp_path, PAIRS | {"p.py": text})
    refused = lossbench_command(*shlex.split(OWN), cwd=tmp_path)
    assert refused.returncode == 2, refused.stderr
    assert message in refused.stderr
    write(tmp_path, {"p.py": PLUGIN})
    assert lossbench_command(*shlex.split(OWN), cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("name", ["b.npz", "b.nii.gz", "b.tar.gz", "b.zip"])
def test_a_bomb_is_not_unpacked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lossbench_command: Command
) -> None:
    monkeypatch.setattr(limits, "ALWAYS", 1000)
    zeros = bytes(1 << 22)
    path = tmp_path / "pred" / name
    path.parent.mkdir()
    if name.endswith(".nii.gz"):
        path.write_bytes(gzip.compress(zeros))
    elif name.endswith(".tar.gz"):
        with tarfile.open(path, "w:gz") as archive:
            member = tarfile.TarInfo("b.npy")
            member.size = len(zeros)
            archive.addfile(member, BytesIO(zeros))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("b.npy", zeros)
    pred = f"pred/{name}" if "tar" in name or "zip" in name else "pred"
    write(tmp_path, {"gt/b.png": MASK})
    refused = lossbench_command("eval", pred, "gt", cwd=tmp_path)
    assert refused.returncode == 3
    assert f"pred/{name}" in refused.stderr
    assert "unpacks to" in refused.stderr
    assert "unpack it beforehand" in refused.stderr


def test_a_size_that_a_file_forges_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lossbench_command: Command
) -> None:
    monkeypatch.setattr(limits, "ALWAYS", 1000)
    packed = gzip.compress(bytes(1 << 22))
    write(tmp_path, {"gt/b.png": MASK, "pred/b.nii.gz": packed[:-4] + bytes(4)})
    refused = lossbench_command("eval", "pred", "gt", cwd=tmp_path)
    assert refused.returncode == 3
    assert "pred/b.nii.gz unpacks to" in refused.stderr


def test_a_pipe_is_not_waited_for(tmp_path: Path, lossbench_command: Command) -> None:
    write(tmp_path, PAIRS | {"m.csv": MANIFEST.replace("pred/a.png", "p.png")})
    os.mkfifo(tmp_path / "p.png")
    for command in ("eval --manifest m.csv", "eval p.png gt/a.png"):
        refused = lossbench_command(*command.split(), cwd=tmp_path)
        assert refused.returncode == 3
        assert "p.png is a pipe or device; copy it into a file" in refused.stderr
    (tmp_path / "p.png").unlink()
    write(tmp_path, {"p.png": GREY})
    for command in ("eval --manifest m.csv", "eval p.png gt/a.png"):
        assert lossbench_command(*command.split(), cwd=tmp_path).returncode == 0


def test_a_manifest_names_only_files_that_are_read(
    tmp_path: Path, lossbench_command: Command
) -> None:
    text = MANIFEST.replace("pred/a.png", "pred/a.mha")
    write(tmp_path, PAIRS | {"m.csv": text, "pred/a.mha": "x"})
    refused = lossbench_command("eval", "--manifest", "m.csv", cwd=tmp_path)
    assert refused.returncode == 3
    assert "pred/a.mha is of a format that is not read" in refused.stderr


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "pred/a.bmp cannot be read: memory did not suffice; fewer --workers"),
        (
            PermissionError(13, "Permission denied"),
            "pred/ cannot be read: Permission denied; allow",
        ),
        (KeyError("x"), "pair a could not be read (KeyError: 'x'): this is a fault of lossbench"),
    ],
    ids=["memory", "permission", "fault"],
)
def test_what_the_machine_refuses(
    error: Exception,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lossbench_command: Command,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    write(tmp_path, dict.fromkeys(PAIRS) | {"pred/a.bmp": GREY, "gt/a.bmp": MASK})
    owner, name = {
        MemoryError: (Image, "open"),
        PermissionError: (os, "scandir"),
        KeyError: (sample, "load_role"),
    }[type(error)]
    with monkeypatch.context() as during:
        during.setattr(owner, name, fail)
        refused = lossbench_command("eval", "pred", "gt", "--workers", "1", cwd=tmp_path)
    assert refused.returncode == 3, refused.stderr
    assert words in refused.stderr
    assert lossbench_command("eval", "pred", "gt", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("package", "command", "extra"),
    [
        ("fsspec", "eval memory://a memory://b", "pip install 'lossbench[remote]'"),
        ("pycocotools", "eval r.json i.json", "pip install 'lossbench[detection]'"),
        ("safetensors", "eval pred gt --task image --weights squeezenet=w.safetensors -l"
         " 'content(network=squeezenet, layers=[relu1])'", "pip install 'lossbench[safetensors]'"),
    ],
)  # fmt: skip
def test_a_package_that_is_absent_is_named_with_its_extra(
    package: str,
    command: str,
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lossbench_command: Command,
) -> None:
    runs = {**DETECTION, "segmentation": {"size": [20, 20], "counts": [0, 400]}}
    del runs["bbox"]
    write(tmp_path, PAIRS | {"w.safetensors": "x", "r.json": [runs], "i.json": COCO})
    for name in [each for each in sys.modules if each.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    refused = lossbench_command(*shlex.split(command), cwd=tmp_path)
    assert refused.returncode in (2, 3)
    assert extra in refused.stderr


def test_plugins_that_packages_offer_are_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, words in (
        ("json:loads", "expected a module without :loads"),
        ("no_such_module", "'no_such_module', which does not exist"),
    ):
        point = EntryPoint("x", value, plugins.GROUP)
        with pytest.raises(lossbench.SettingError, match=words):
            plugins._offered(point)


def test_python_names_what_it_expects() -> None:
    half = torch.full((2, 1, 4, 4), 0.5)
    with pytest.raises(lossbench.SettingError, match="there are config, result"):
        lossbench.schema("reslt")
    with pytest.raises(lossbench.SettingError, match="give the result of each epoch, or a pattern"):
        lossbench.trend()
    with pytest.raises(lossbench.SettingError, match="pred goes from 2 to 2"):
        lossbench.loss("bce")(half * 4, half)
    with pytest.raises(lossbench.SettingError, match="pos_weight=role needs maps; give a"):
        lossbench.loss("bce")(half, half, pos_weight="role")
    with pytest.raises(lossbench.SettingError, match="2 numbers for 3 classes"):
        lossbench.loss("dice")(half.repeat(1, 3, 1, 1), half.repeat(1, 3, 1, 1), task="multilabel",
                               class_weights=[1, 2])  # fmt: skip
    with pytest.raises(lossbench.SettingError, match=r"target is \(3, 3\) where pred is \(2, 3\)"):
        lossbench.loss("contrastive")(torch.ones(2, 3), torch.ones(3, 3), same=torch.ones(2))
    with pytest.raises(lossbench.SettingError, match="needs the role style"):
        lossbench.loss("gram")(*[half] * 2, task="image", network="tiny_seeded", layers=["relu1_2"],
                               against="style")  # fmt: skip


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Input(torch.zeros(1, 1, 4), "binary").shape, "needs images"),
        (lambda: Input(torch.zeros(1, 1, 4), "binary").logit, "needs logits"),
        (lambda: features.source(SimpleNamespace(features=None)), "needs a network"),
        (lambda: weight_maps._weighted(BATCH, "unet"), "needs images"),
    ],
)
def test_an_input_without_what_a_loss_needs(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(lossbench.SettingError, match=words):
        call()


BATCH: Any = SimpleNamespace(inputs={"target": SimpleNamespace(space=None)})


def test_a_file_that_a_task_has_no_use_for() -> None:
    plan: Any = SimpleNamespace(reading=lambda _: None, task="vectors")
    with pytest.raises(lossbench.InputError, match="of no use on a vectors task"):
        read_tensors(plan, Pair("a", {"pred": ("p.npy",)}))


def test_processes_that_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = object.__new__(reader_pool.ReaderPool)
    pool.started = Future()
    pool.started.set_exception(BrokenProcessPool())
    plan: Any = None
    with pytest.raises(lossbench.LossbenchError, match="__main__"):
        pool.load(plan, [])

    def crash(*_: Any) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr(reader_pool, "ReaderPool", lambda *_: SimpleNamespace(load=crash))
    batch = reader_pool._load_singly(plan, [Pair("a", {"pred": ("p.png",), "target": ("t.png",)})])
    assert [each.message for each in batch.errors] == [
        "p.png or its ground truth ends the process that reads it"
    ]


def test_pairs_that_end_every_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lossbench_command: Command
) -> None:
    distributed = pytest.importorskip("distributed")
    from distributed.scheduler import KilledWorker

    def fail() -> None:
        raise KilledWorker("lossbench 0-x", None, 3)

    future = SimpleNamespace(key="lossbench 0-x", result=fail)
    client = SimpleNamespace(nthreads=lambda: {"worker": 1}, submit=lambda *_, **__: future)
    write(tmp_path, PAIRS)
    with monkeypatch.context() as during:
        during.setattr(dask_engine, "_client", lambda _: nullcontext(client))
        during.setattr(distributed, "as_completed", iter)
        refused = lossbench_command("eval", "pred", "gt", "--engine", "dask", cwd=tmp_path)
    assert refused.returncode == 3, refused.stderr
    assert "pairs from number 1 on end every worker" in refused.stderr
    assert "without --engine" in refused.stderr
    assert lossbench_command("eval", "pred", "gt", cwd=tmp_path).returncode == 0


def test_a_full_disk_behind_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as during:
        during.setattr(main, "_silence", lambda _: None)
        during.setattr(sys, "stdout", SimpleNamespace(write=fail))
        with pytest.raises(lossbench.OutputError, match="could not be written: No space left"):
            main.write("x")


def test_a_page_of_a_manifest_from_stdin_has_no_pictures(
    tmp_path: Path, lossbench_command: Command
) -> None:
    write(tmp_path, PAIRS | {"m.csv": MANIFEST})
    run = ("eval", "--manifest", "m.csv", "-l", "dice", "-o", "r.json")
    assert lossbench_command(*run, cwd=tmp_path).returncode == 0
    result = json.loads((tmp_path / "r.json").read_text())
    result["run"]["settings"]["manifest"] = "-"
    write(tmp_path, {"r.json": result})
    page = lossbench_command("report", "r.json", cwd=tmp_path)
    assert page.returncode == 0
    assert "the run read its manifest from stdin" in page.stdout + page.stderr


def test_weights_are_verified_only_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lossbench_command: Command
) -> None:
    for variable in ("LOSSBENCH_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    refused = lossbench_command("weights", "verify", "squeezenet")
    assert refused.returncode == 3
    assert "squeezenet is in no cache; run lossbench weights fetch squeezenet" in refused.stderr
    file = Path(lossbench_command("weights", "path", "squeezenet").stdout.strip())
    write(tmp_path, {str(file.relative_to(tmp_path)): "x"})

    def fail(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(hashlib, "file_digest", fail)
    refused = lossbench_command("weights", "verify", "squeezenet")
    assert refused.returncode == 3
    assert f"{file} cannot be read: Permission denied" in refused.stderr


def test_weights_that_are_nowhere_are_given_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lossbench_command: Command
) -> None:
    for variable in ("LOSSBENCH_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    write(tmp_path, PAIRS)
    loss = "perceptual(network=squeezenet, layers=[relu1])"
    command = ("eval", "pred", "gt", "--task", "image", "-l", loss, "--offline")
    refused = lossbench_command(*command, cwd=tmp_path)
    assert refused.returncode == 3
    assert "the weights squeezenet are needed" in refused.stderr
    assert "--weights squeezenet=FILE" in refused.stderr
    torch.save(dict(seeded(NETWORKS["squeezenet"])), tmp_path / "w.pth")
    done = lossbench_command(*command, "--weights", "squeezenet=w.pth", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
