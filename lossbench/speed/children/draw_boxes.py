"""COCO's files to measure with: draw_boxes.py COUNT SIZE FOLDER

COUNT images of 4/3·SIZE × SIZE with 1 to 14 objects of 80 classes each, and 25 detections an image:
half of them are objects, moved a little and mostly of the right class, half are anywhere. Seeded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CLASSES, OBJECTS, DETECTIONS = 80, 14, 25
WIDTH = 4 / 3  # of the height
SIDES = (1 / 60, 0.52)  # of a box, of the height
CROWDS = 0.02  # share of objects
MOVED = 0.08  # of the sides of a box, the deviation of a detection
RIGHT = 0.85  # share of detections of an object that have its class


def boxes(random: np.random.Generator, count: int, size: int) -> Array:
    """Boxes anywhere: left, top, width and height."""
    shortest, longest = np.log(SIDES)
    sides = np.exp(random.uniform(shortest, longest, (count, 2)))
    return np.hstack([random.uniform(0, (WIDTH, 1) - sides), sides]) * size


def draw(count: int, size: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Detections and ground truth."""
    random = np.random.default_rng(0)
    images = np.arange(1, count + 1)
    of_image = np.repeat(images, random.integers(1, OBJECTS + 1, count))
    objects, classes = (
        boxes(random, len(of_image), size),
        random.integers(1, CLASSES + 1, len(of_image)),
    )
    crowd = random.random(len(of_image)) < CROWDS
    real = random.integers(0, len(of_image), count * DETECTIONS // 2)
    free = count * DETECTIONS - len(real)
    near = objects[real] + random.normal(0, MOVED, (len(real), 4)) * np.tile(objects[real, 2:], 2)
    near[:, 2:] = near[:, 2:].clip(1)
    other = random.integers(1, CLASSES + 1, len(real))
    right = random.random(len(real)) < RIGHT
    detections = zip(
        [*of_image[real], *random.choice(images, free)],
        [*np.where(right, classes[real], other), *random.integers(1, CLASSES + 1, free)],
        np.vstack([near, boxes(random, free, size)]).round(2).tolist(),
        [*random.beta(4, 2, len(real)), *random.beta(2, 4, free)],
        strict=True,
    )
    predicted = [
        {"image_id": int(image), "category_id": int(of), "bbox": box, "score": round(score, 3)}
        for image, of, box, score in detections
    ]
    annotations = [
        {"id": number, "image_id": int(image), "category_id": int(of), "bbox": box,
         "area": round(box[2] * box[3], 2), "iscrowd": int(group)}
        for number, (image, of, box, group) in enumerate(
            zip(of_image, classes, objects.round(2).tolist(), crowd, strict=True), 1
        )
    ]  # fmt: skip
    width = round(WIDTH * size)
    files = [{"id": int(id), "file_name": f"{id:012d}.jpg", "width": width, "height": size}
             for id in images]  # fmt: skip
    categories = [{"id": number, "name": f"class {number}"} for number in range(1, CLASSES + 1)]
    return predicted, {"images": files, "annotations": annotations, "categories": categories}


def main() -> None:
    """Write pred.json and gt.json."""
    count, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    folder.mkdir(parents=True)
    for name, content in zip(("pred", "gt"), draw(count, size), strict=True):
        (folder / f"{name}.json").write_text(json.dumps(content), "utf-8")


if __name__ == "__main__":
    main()
