"""Dice and IoU of two folders of masks, as a short script computes them: masks.py PRED GT"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

rows = []
for file in sorted(Path(sys.argv[2]).iterdir()):
    pred, gt = (np.asarray(Image.open(Path(side, file.name))) > 127 for side in sys.argv[1:])
    both, areas = np.count_nonzero(pred & gt), np.count_nonzero(pred) + np.count_nonzero(gt)
    rows.append((2 * both / areas, both / (areas - both)))
dice, iou = np.mean(rows, 0).tolist()
print(json.dumps({"dice": dice, "iou": iou}))
