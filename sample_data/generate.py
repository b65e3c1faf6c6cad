"""Make the sample data: small true pictures, and predictions of them with realistic errors.

Cells, road scenes, organs and photographs are drawn from ellipses, polygons and smooth noise, scans
of the abdomen from ellipsoids; scores of a discriminator or of anchors and embeddings are random
numbers. Every
sample draws from its own seeded generator, so that each run writes the same files (it needs nibabel
for the scans):

    python sample_data/generate.py [OUTPUT_FOLDER]
"""

import json
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter

Shape = tuple[int, int]

BACKGROUND, ROAD, CAR, PERSON = LABELS = range(4)
IGNORED = 255
CATEGORIES = [
    {"id": 7, "name": "road", "isthing": 0},
    {"id": 23, "name": "sky", "isthing": 0},
    {"id": 24, "name": "person", "isthing": 1},
    {"id": 26, "name": "car", "isthing": 1},
]
CATEGORY = {BACKGROUND: 23, ROAD: 7, CAR: 26, PERSON: 24}

# Right halves, as (distance from the middle, height above the foot) in units of the size.
CAR_OUTLINE = [(0.26, 0.08), (0.28, 0), (0.46, 0), (0.5, 0.38), (0.34, 0.7)]
PERSON_OUTLINE = [(0, 0.4), (0.06, 0), (0.16, 0), (0.2, 0.75), (0.08, 0.82), (0.11, 0.9), (0.06, 1)]
# Row, column and the two radii as fractions of the slice, and the tilt in radians.
ORGANS = {
    "liver": [(0.40, 0.31, 0.25, 0.20, 0.3)],
    "kidney": [(0.65, 0.33, 0.12, 0.08, 0.4), (0.65, 0.68, 0.12, 0.08, -0.4)],
    "spleen": [(0.44, 0.76, 0.19, 0.09, -0.3)],
}
# Class, centre and radii as fractions of the scan.
SCANNED = [(1, (0.36, 0.42, 0.52), (0.28, 0.30, 0.36)), (2, (0.80, 0.60, 0.60), (0.10, 0.17, 0.24))]


def generate(root: Path) -> None:
    write_cells(root, "plate_a/01", cells=9)
    write_cells(root, "plate_a/02", cells=8, missed=1)
    write_cells(root, "plate_a/03", cells=7, growth=1.12)
    write_cells(root, "plate_a/04", cells=0)
    write_cells(root, "plate_a/05", cells=10)
    write_cells(root, "plate_a/06", cells=8, false_alarms=1)
    write_cells(root, "plate_b/01", cells=6)
    write_cells(root, "plate_b/02", cells=9, growth=0.9)
    write_cells(root, "plate_b/03", cells=0, false_alarms=1, growth=0.6)
    write_cells(root, "plate_b/04", cells=7)
    write_cells(root, "plate_b/05", cells=7, missed=3, false_alarms=2, growth=0.75)
    write_cells(root, "plate_b/06", cells=8)
    write_pairs(root)

    write_drive(root, "drive_01", [CAR, PERSON, CAR], soft=True)
    write_drive(root, "drive_02", [CAR, CAR], soft=True)
    write_drive(root, "drive_03", [PERSON, CAR, PERSON], soft=True)
    write_drive(root, "drive_04", [CAR, CAR], seen=[CAR, BACKGROUND])
    write_drive(root, "drive_05", [CAR])
    write_drive(root, "drive_06", [PERSON, CAR, CAR], seen=[PERSON, PERSON, CAR])
    write_drive(root, "drive_07", [CAR, CAR, CAR])
    write_drive(root, "drive_08", [CAR, PERSON])

    write_slice(root, "slice_01", absent="kidney")
    write_slice(root, "slice_02")
    write_slice(root, "slice_03", missed="spleen")
    write_slice(root, "slice_04")
    write_slice(root, "slice_05", imagined="spleen")
    write_slice(root, "slice_06", absent="spleen")

    write_scan(root, "case_01", shape=(40, 40, 16), spacing=(0.8, 0.8, 3.0))
    write_scan(root, "case_02", shape=(44, 36, 14), spacing=(0.75, 0.75, 3.0))
    write_scan(root, "case_03", shape=(40, 40, 12), spacing=(0.8, 0.8, 5.0), missed=2)
    write_scan(root, "case_04", shape=(36, 40, 18), spacing=(0.9, 0.9, 2.5), stray=True)

    write_nuclei(root, "nuclei_01", cells=12)
    write_nuclei(root, "nuclei_02", cells=9, missed=2)
    write_nuclei(root, "nuclei_03", cells=14, growth=0.8)
    write_nuclei(root, "nuclei_04", cells=7, merged=True)
    write_nuclei(root, "nuclei_05", cells=0)
    write_nuclei(root, "nuclei_06", cells=10, missed=1, merged=True)

    write_panoptic(
        root,
        street_01=([CAR, PERSON, CAR], [CAR, PERSON, CAR], False),
        street_02=([PERSON, PERSON, PERSON, CAR], [PERSON, PERSON, PERSON, CAR], True),
        street_03=([CAR, CAR], [CAR, BACKGROUND], False),
        street_04=([PERSON, CAR, PERSON], [PERSON, PERSON, PERSON], False),
    )

    write_detections(
        root,
        crossing_01=([CAR, PERSON, CAR], [CAR, PERSON, CAR], False),
        crossing_02=([PERSON, PERSON, CAR], [PERSON, PERSON, CAR], True),
        crossing_03=([CAR, CAR, PERSON], [CAR, BACKGROUND, CAR], False),
        crossing_04=([PERSON, CAR, PERSON, CAR], [PERSON, CAR, BACKGROUND, CAR], False),
        crossing_05=([CAR], [PERSON], False),
        crossing_06=([PERSON, PERSON], [PERSON, PERSON], False),
    )
    write_anchors(root, "step_01", objects=6, doubt=2.0)
    write_anchors(root, "step_02", objects=5, doubt=1.0)
    write_anchors(root, "step_03", objects=0, doubt=0.5)

    write_scene(root, "scene_01", blur=0.6, noise=2.0)
    write_scene(root, "scene_02", blur=0.9, noise=3.0)
    write_scene(root, "scene_03", blur=0.5, noise=4.0)
    write_scene(root, "scene_04", blur=2.5, noise=14.0)
    write_scene(root, "scene_05", blur=1.1, noise=1.5)
    write_scene(root, "scene_06", blur=0.7, noise=3.0)

    write_painting(root, "view_01", share=0.4)
    write_painting(root, "view_02", share=0.7)
    write_painting(root, "view_03", share=0.15)

    for epoch, told_apart in enumerate([3.0, 2.0, 1.2, 0.5, 0.2, 0.0], 1):
        write_scores(root, f"epoch_{epoch:02d}", told_apart)
    for person in ("anna", "ben", "cleo", "dora"):
        write_faces(root, person, views=3)


def write_cells(
    root: Path, name: str, cells: int, missed: int = 0, false_alarms: int = 0, growth: float = 1.0
) -> None:
    random = random_for(name)
    shape = (96, random.choice([96, 112]))
    placed = place_cells(random, shape, cells + false_alarms)
    predicted = perturb(random, placed[missed:], growth)
    depths, probabilities = draw_blobs(random, shape, placed[:cells], predicted)
    save(root / f"binary/pred/{name}.png", to_bytes(probabilities))
    save(root / f"binary/gt/{name}.png", to_bytes(depths > 0))
    save(root / f"binary/valid/{name}.png", np.pad(to_bytes(np.ones(shape))[4:-4, 4:-4], 4))
    save(root / f"binary/weight/{name}.npy", 1 + 4 * np.exp(-((depths / 3) ** 2)))
    random = random_for(f"{name} of an earlier model")
    predicted = perturb(random, placed[missed:], 0.92 * growth)
    _, probabilities = draw_blobs(random, shape, placed[:cells], predicted)
    save(root / f"binary/earlier/{name}.png", to_bytes(probabilities))


def write_pairs(root: Path) -> None:
    """Write a manifest of the cells: every second well was seen through another lens."""
    wells = sorted(path.relative_to(root / "binary/gt") for path in root.glob("binary/gt/*/*.png"))
    lines = [
        f"{well.with_suffix('')},pred/{well},gt/{well},{well.parent},{('10x', '20x')[place % 2]}\n"
        for place, well in enumerate(wells)
    ]
    (root / "binary/pairs.csv").write_text("".join(["id,pred,gt,plate,lens\n", *lines]))


def place_cells(random: Generator, shape: Shape, count: int) -> NDArray:
    places = np.transpose(np.divmod(random.permutation(16)[:count], 4))
    centres = (places + random.uniform(0.25, 0.75, (count, 2))) * np.divide(shape, 4)
    radii = random.uniform(8, 12, (count, 2))
    tilts = random.uniform(0, np.pi, (count, 1))
    return np.hstack([centres, radii, tilts])


def write_drive(
    root: Path, name: str, things: list[int], seen: list[int] | None = None, soft: bool = False
) -> None:
    random = random_for(name)
    shape = (64, random.choice([88, 96]))
    count = len(things)
    columns = (np.arange(count) + random.uniform(0.35, 0.65, count)) / count
    sizes = random.uniform(0.32, 0.52, count)
    truth = draw_drive(shape, zip(sizes, columns, things, things, strict=True))
    columns += random.normal(0, 0.008, count)
    sizes *= random.uniform(0.92, 1.08, count)
    predicted = draw_drive(shape, zip(sizes, columns, things, seen or things, strict=True))
    probabilities = class_probabilities(random, predicted)
    save(root / f"multiclass/gt/{name}.png", ignore_edges(truth))
    save(root / f"multiclass/pred/{name}.png", probabilities.argmax(axis=0).astype(np.uint8))
    if soft:
        save(root / f"multiclass/pred_prob/{name}.npy", probabilities)


def write_nuclei(
    root: Path, name: str, cells: int, missed: int = 0, growth: float = 1.0, merged: bool = False
) -> None:
    """Write label maps of 16 bits: a nucleus has one number, another in the prediction."""
    random = random_for(name)
    shape = (96, random.choice([96, 112]))
    placed = place_cells(random, shape, cells)
    predicted = perturb(random, placed[missed:], growth)
    for role, ellipses in (("gt", placed), ("pred", predicted)):
        numbers = random.choice(np.arange(1, 60_000), len(ellipses), replace=False)
        if merged and role == "pred":
            numbers[0] = numbers[1]
        labels = np.zeros(shape, np.uint16)
        for number, ellipse in zip(numbers, ellipses, strict=True):
            labels[depth(shape, [ellipse]) > 0] = number
        save(root / f"instances/{role}/{name}.png", labels)


def write_panoptic(root: Path, **streets: tuple[list[int], list[int], bool]) -> None:
    """Write panopticapi's format: R + 256·G + 65536·B is a segment's number, 0 is unlabelled.

    A street is its things, what they are seen as, and whether the first two are a crowd.
    """
    annotations: dict[str, list[dict]] = {"gt": [], "pred": []}
    for image, (name, (things, seen, crowd)) in enumerate(streets.items(), start=1):
        random = random_for(name)
        groups = [2, 2 if crowd else 3, *range(4, len(things) + 2)][: len(things)]
        alone = [place + 2 if each else BACKGROUND for place, each in enumerate(seen)]
        truth, predicted = draw_street(random, things, groups, alone)
        sides = {"gt": (ignore_edges(truth), things, groups), "pred": (predicted, seen, alone)}
        for role, (labels, classes, places) in sides.items():
            numbers = random.choice(np.arange(1, 1 << 24), IGNORED, replace=False)
            colours = np.append(numbers, 0)[labels]
            channels = [(colours >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)]
            save(root / f"panoptic/{role}/{name}.png", np.stack(channels, -1))
            of_class = dict(zip(places, classes, strict=True)) | {0: BACKGROUND, 1: ROAD}
            segments = [
                {
                    "id": int(numbers[label]),
                    "category_id": CATEGORY[of_class[label]],
                    "iscrowd": int(crowd and role == "gt" and label == 2),
                }
                for label in np.unique(labels[labels != IGNORED]).tolist()
            ]
            annotations[role].append(
                {"image_id": image, "file_name": f"{name}.png", "segments_info": segments}
            )
    for role, each in annotations.items():
        content = {"annotations": each, **({"categories": CATEGORIES} if role == "gt" else {})}
        (root / f"panoptic/{role}.json").write_text(json.dumps(content, indent=1) + "\n")


def draw_street(
    random: Generator, things: list[int], groups: list[int], alone: list[int]
) -> tuple[NDArray, NDArray]:
    """Draw a street and a prediction of it, in which each thing has its number."""
    shape, count = (64, random.choice([88, 96])), len(things)
    columns = (np.arange(count) + random.uniform(0.35, 0.65, count)) / count
    sizes = random.uniform(0.32, 0.52, count)
    truth = draw_drive(shape, zip(sizes, columns, things, groups, strict=True))
    columns += random.normal(0, 0.008, count)
    sizes *= random.uniform(0.92, 1.08, count)
    return truth, draw_drive(shape, zip(sizes, columns, things, alone, strict=True))


def write_detections(root: Path, **streets: tuple[list[int], list[int], bool]) -> None:
    """Write COCO's format: boxes and run lengths of what is there, and of what was found.

    A street is its things, what they are seen as, and whether the first two are a crowd.
    """
    images, annotations, results = [], [], []
    for image, (name, (things, seen, crowd)) in enumerate(streets.items(), start=1):
        random = random_for(name)
        groups = [2, 2 if crowd else 3, *range(4, len(things) + 2)][: len(things)]
        alone = [place + 2 if each else BACKGROUND for place, each in enumerate(seen)]
        truth, predicted = draw_street(random, things, groups, alone)
        height, width = (int(side) for side in truth.shape)
        images.append({"id": image, "file_name": f"{name}.png", "height": height, "width": width})
        for group, thing in dict(zip(groups, things, strict=True)).items():
            if (mask := truth == group).any():
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": CATEGORY[thing],
                        "iscrowd": int(crowd and group == 2),
                        "area": int(mask.sum()),
                        **placed(mask),
                    }
                )
        for number, thing, of_class in zip(alone, things, seen, strict=True):
            score = random.uniform(0.6, 1) if thing == of_class else random.uniform(0.2, 0.7)
            if of_class and (mask := predicted == number).any():
                found = {"image_id": image, "category_id": CATEGORY[of_class]}
                results.append({**found, "score": round(score, 3), **placed(mask)})
    categories = [
        {"id": each["id"], "name": each["name"]} for each in CATEGORIES if each["isthing"]
    ]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    parts = [f'"{key}": {in_lines(value)}' for key, value in truth.items()]
    (root / "detection").mkdir(parents=True, exist_ok=True)
    (root / "detection/instances.json").write_text("{" + ",\n".join(parts) + "}\n")
    (root / "detection/results.json").write_text(in_lines(results) + "\n")


def placed(mask: NDArray) -> dict:
    """Where a mask is: x, y, width and height of its box, and its run lengths down the columns."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    column = np.concatenate([[0], mask.ravel(order="F").astype(int)])
    changes = np.flatnonzero(np.diff(column))
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {
        "bbox": [int(each) for each in box],
        "segmentation": {"size": list(mask.shape), "counts": counts.tolist()},
    }


def in_lines(listed: list[dict]) -> str:
    """JSON with a line for each."""
    return "[\n" + ",\n".join(json.dumps(each) for each in listed) + "\n]"


def write_anchors(root: Path, name: str, objects: int, doubt: float) -> None:
    """Write what Faster R-CNN and Mask R-CNN say of 40 anchors and 4 regions, and what is true."""
    random = random_for(name)
    labels = np.repeat([1, 0, -1], [objects, 30 - objects, 10])
    deltas = random.normal(0, 0.3, (40, 4))
    of_region = np.array([1, 2, 1, 0] if objects else [0, 0, 0, 0])
    masks = (depth((7, 7), [[3, 3, 2.5, 2, 0]]) > 0)[None].repeat(4, 0)
    save(
        root / f"anchors/gt/{name}.npz",
        {"labels": labels, "deltas": deltas, "mask_labels": of_region, "masks": masks},
    )
    save(
        root / f"anchors/pred/{name}.npz",
        {
            "logits": random.normal(np.where(labels == 1, 2, -2), doubt),
            "deltas": deltas + random.normal(0, 0.1 * doubt, deltas.shape),
            "mask_logits": random.normal(4 * masks[:, None] - 2, doubt, (4, 3, 7, 7)),
        },
    )


def draw_drive(shape: Shape, things: Iterable[tuple[float, float, int, int]]) -> NDArray:
    """Draw a road with things on it, each given by its size, column, true class and label."""
    height, width = shape
    horizon = 0.4 * height
    picture = Image.new("L", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    road = [(0.44, horizon), (0.56, horizon), (1.1, height), (-0.1, height)]
    draw.polygon([(x * width, y) for x, y in road], fill=ROAD)
    for size, column, thing, label in sorted(things):
        foot = horizon + 1.6 * size * (height - horizon)
        right = PERSON_OUTLINE if thing == PERSON else CAR_OUTLINE
        outline = np.array(right + [(-x, y) for x, y in reversed(right)])
        corners = (column * width, foot) + outline * (size * height, -size * height)
        draw.polygon(corners.ravel().tolist(), fill=label)
    return np.array(picture)


def class_probabilities(random: Generator, labels: NDArray) -> NDArray:
    scores = []
    for label in LABELS:
        evidence = Image.fromarray(to_bytes(labels == label)).filter(ImageFilter.GaussianBlur(1))
        scores.append(np.array(evidence) / 32 + 0.6 * smooth_noise(random, labels.shape))
    odds = np.exp(scores)
    return (odds / odds.sum(axis=0)).astype(np.float16)


def ignore_edges(labels: NDArray) -> NDArray:
    edges = np.zeros(labels.shape, dtype=bool)
    edges[:-1] |= labels[:-1] != labels[1:]
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    inner = np.where(edges, IGNORED, labels)[2:-2, 2:-2]
    return np.pad(inner, 2, constant_values=IGNORED).astype(np.uint8)


def write_slice(
    root: Path, name: str, absent: str = "", missed: str = "", imagined: str = ""
) -> None:
    random = random_for(name)
    shape = (88, random.choice([96, 104]))
    for organ, fractions in ORGANS.items():
        placed = perturb(random, np.multiply(fractions, [*shape, *shape, 1]))
        predicted = perturb(random, placed, growth=0.5 if organ == imagined else 1.0)
        truth = [] if organ in (absent, imagined) else placed
        seen = [] if organ in (absent, missed) else predicted
        depths, probabilities = draw_blobs(random, shape, truth, seen)
        save(root / f"multilabel/pred/{name}_{organ}.png", to_bytes(probabilities))
        save(root / f"multilabel/gt/{name}_{organ}.png", to_bytes(depths > 0))


def write_scan(
    root: Path,
    name: str,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    missed: int = 0,
    stray: bool = False,
) -> None:
    """Write a label map of liver and spleen, in mm; a stray one has a spot far from both."""
    random = random_for(name)
    truth, predicted = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    extent = np.multiply(shape, spacing)
    places = np.moveaxis(np.indices(shape), 0, -1) * spacing
    for label, centre, radii in SCANNED:
        waves = np.cos(places @ random.normal(0, 0.15, 3) + random.uniform(0, np.pi))
        middle, size = centre * extent, radii * extent
        truth[inside(places, middle, size) + 0.12 * waves > 0] = label
        middle, size = middle + random.normal(0, 0.8, 3), size * random.uniform(0.95, 1.05, 3)
        if label != missed:
            predicted[inside(places, middle, size) + 0.10 * waves > 0] = label
    if stray:
        predicted[4:7, -8:-5, 2:4] = 1
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1])
    affine[:3, 3] = random.uniform(-100, 100, 3).round(1)
    for role, labels in (("pred", predicted), ("gt", truth)):
        save_scan(root / f"medical/{role}/{name}.nii.gz", labels, affine)


def inside(places: NDArray, middle: NDArray, radii: NDArray) -> NDArray:
    """Return how far inside an ellipsoid each place lies, 1 in its middle and 0 on its surface."""
    return 1 - np.sqrt((((places - middle) / radii) ** 2).sum(-1))


def save_scan(path: Path, labels: NDArray, affine: NDArray) -> None:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    scan = nibabel.Nifti1Image(labels, affine)
    scan.header.set_xyzt_units("mm")
    nibabel.save(scan, path)


def write_scene(root: Path, name: str, blur: float, noise: float) -> None:
    random = random_for(name)
    truth = to_bytes(draw_scene(random, shape=(64, random.choice([80, 96]))))
    blurred = np.array(Image.fromarray(truth).filter(ImageFilter.GaussianBlur(blur)))
    save(root / f"image/gt/{name}.png", truth)
    save(root / f"image/pred/{name}.png", to_bytes(random.normal(blurred, noise) / 255))


def write_painting(root: Path, name: str, share: float) -> None:
    """A scene, a texture of another size, and the scene with a share of the texture."""
    random = random_for(name)
    scene = draw_scene(random, shape=(64, 80))
    texture = draw_texture(random, shape=(72, 72))
    mixed = (1 - share) * scene + share * texture[:64, np.arange(80) % 72]
    save(root / f"style/gt/{name}.png", to_bytes(scene))
    save(root / f"style/style/{name}.png", to_bytes(texture))
    save(root / f"style/pred/{name}.png", to_bytes(mixed))


def draw_texture(random: Generator, shape: Shape) -> NDArray:
    """Waves in several directions, each in a colour."""
    rows, columns = np.indices((*shape, 1))[:2]
    texture = np.full((*shape, 3), 0.5)
    for _ in range(4):
        down, right = random.normal(0, 0.5, 2)
        wave = np.sin(down * rows + right * columns + random.uniform(0, 6))
        texture = texture + 0.2 * wave * random.normal(0, 1, 3)
    return texture


def draw_scene(random: Generator, shape: Shape) -> NDArray:
    rows, columns = np.indices((*shape, 1))[:2]
    slope = rows / shape[0]
    scene = (1 - slope) * random.uniform(0.5, 1, 3) + slope * random.uniform(0, 0.5, 3)
    for striped in (False, True, False, True, False):
        disc = [*random.uniform(0, shape), *[random.uniform(8, 18)] * 2, 0]
        inside = (depth(shape, [disc]) + 0.5).clip(0, 1)[..., None]
        stripes = 1 + 0.3 * striped * np.sin(random.normal(0.6, 0.1) * (rows + columns))
        scene = (1 - inside) * scene + inside * stripes * random.uniform(0.1, 0.75, 3)
    return scene


def write_scores(root: Path, name: str, told_apart: float) -> None:
    """Write what a discriminator of patches says of generated and of real pictures, as logits."""
    random = random_for(name)
    for role, middle in (("pred", -told_apart), ("gt", told_apart)):
        save(root / "adversarial" / role / f"{name}.npy", random.normal(middle, 1, (6, 6)))


def write_faces(root: Path, person: str, views: int) -> None:
    """Write embeddings of two pictures of each view of a person, and the person's number."""
    middle = random_for(person).normal(size=16)
    for view in range(views):
        name = f"{person}_{view}"
        random = random_for(name)
        for role in ("pred", "gt"):
            vector = middle + random.normal(0, 0.7, middle.shape)
            save(root / "embedding" / role / f"{name}.npy", vector / np.linalg.norm(vector))
        number = ord(person[0]) - ord("a")
        save(root / "embedding" / "labels" / f"{name}.npy", np.array(number, np.uint8))


def random_for(name: str) -> Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def perturb(random: Generator, ellipses: NDArray, growth: float = 1.0) -> NDArray:
    shifts = random.normal(0, 0.7, (len(ellipses), 2))
    factors = growth * random.uniform(0.93, 1.07, (len(ellipses), 2))
    return np.hstack([ellipses[:, :2] + shifts, ellipses[:, 2:4] * factors, ellipses[:, 4:]])


def draw_blobs(
    random: Generator, shape: Shape, truth: ArrayLike, predicted: ArrayLike
) -> tuple[NDArray, NDArray]:
    """Return the depths inside the true ellipses, and probabilities of the predicted ones."""
    wobble = smooth_noise(random, shape)
    logits = 2 * (depth(shape, predicted) + wobble) + smooth_noise(random, shape)
    return depth(shape, truth) + wobble, 1 / (1 + np.exp(-logits))


def depth(shape: Shape, ellipses: ArrayLike) -> NDArray:
    """Return about how many pixels deep each pixel lies in an ellipse, negative outside all."""
    rows, columns = np.indices(shape)
    deepest = np.full(shape, -100.0)
    for row, column, height, width, tilt in ellipses:
        down = np.cos(tilt) * (rows - row) - np.sin(tilt) * (columns - column)
        right = np.sin(tilt) * (rows - row) + np.cos(tilt) * (columns - column)
        inside = 1 - np.hypot(down / height, right / width)
        deepest = np.maximum(deepest, inside * min(height, width))
    return deepest


def smooth_noise(random: Generator, shape: Shape) -> NDArray:
    coarse = Image.fromarray(random.normal(size=(8, 8)).astype(np.float32))
    return np.array(coarse.resize(shape[::-1], Image.Resampling.BICUBIC))


def to_bytes(fractions: NDArray) -> NDArray:
    return np.round(np.clip(fractions, 0, 1) * 255.0).astype(np.uint8)


def save(path: Path, values: NDArray | dict[str, NDArray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(values, dict):
        small = {"f": np.float16, "i": np.int8, "b": np.uint8}
        np.savez(path, **{name: x.astype(small[x.dtype.kind]) for name, x in values.items()})
    elif path.suffix == ".npy":
        np.save(path, values.astype(np.float16) if values.dtype.kind == "f" else values)
    else:
        Image.fromarray(values).save(path, optimize=True)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
