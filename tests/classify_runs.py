"""A small run with every kind of classifier, on digits as pictures of their own and as scikit-learn has them."""

from collections import Counter

from PIL import Image

from varc.data.found import Found
from varc.data.readers import list_images, open_images

VQVAE = {
    "patch_nums": [1, 2, 3, 4], "ch": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "z_channels": 8, "vocab_size": 32,
    "norm_groups": 4, "steps": 60, "batch_size": 32, "lr": 0.003,
}  # fmt: skip
VAR = {"depth": 1, "width": 32, "heads": 2, "steps": 80, "batch_size": 32, "lr": 0.005}
NOISE = {"sigma": {"spread": 0.3}}
FUNNEL = [{"scales": 2, "keep": 5}, {"scales": 4, "keep": 3}, {"scales": 4, "samples": 3, "keep": 1}]
PICTURES = {"reader": "image_folder", "root": "data", "classes": "classes.csv", "size": 8, "resize": 10, "border": 1}
CONFIG = {
    "run": "r",
    "seed": 3,
    "shards": 1,
    "datasets": {
        "pictures": PICTURES,
        "digits": {"reader": "digits", "split": "test", "per_class": 3},
        "learn": {"reader": "digits", "split": "train"},
        "known": {"reader": "digits", "split": "calibration"},
        "early": {"reader": "digits", "split": "validation"},
    },
    "models": {"base": {"train": {"data": "learn", "vqvae": VQVAE, "var": VAR}}},
    "baselines": {
        "vaes": {
            "family": "vae",
            "shape": {"image_size": 8, "hidden": 16, "latent": 4, "sigma": 0.4},
            "train": {"data": "learn", "steps": 60, "batch_size": 16, "lr": 0.003},
        },
        "pixels": {
            "family": "logistic_regression",
            "shape": {"image_size": 8},
            "train": {"data": "learn", "images": 973, "steps": 50},
        },
    },
    "classifiers": {
        "varc": {"model": "base", "calibrate": "known", "funnel": [{"scales": 4, "keep": 1}]},
        "smoothed": {"model": "base", **NOISE, "funnel": [{"scales": 4, "samples": 3, "keep": 1}]},
        "funnel": {"model": "base", **NOISE, "funnel": FUNNEL},
        "weighted": {"model": "base", **NOISE, "scale_weights": {"fit": "early"}, "funnel": FUNNEL},
        "guided": {"model": "base", "funnel": [{"scales": 4, "keep": 1, "guidance": 1.5}]},
        "adaptive": {
            "model": "base",
            **NOISE,
            "calibrate": "known",
            "funnel": [{"adaptive": {"alpha": 0.1, "samples": 3}}],
        },
        "vae": {"baseline": "vaes", "stages": [{"samples": 2, "keep": 3}, {"samples": 20}]},
        "logistic": {"baseline": "pixels", "calibrate": "known"},
    },
}
CONFIG["evaluate"] = [
    {"datasets": ["pictures"], "classifiers": list(CONFIG["classifiers"])},
    {"datasets": ["digits"], "classifiers": ["varc", "funnel"]},
]


def add_pictures(project, each=2):
    """So many digits of each class as PNGs, in project/data, of more pixels than the model takes; and a class list."""
    spec, taken = {"reader": "digits", "split": "test"}, Counter()
    opened = open_images(spec)
    for found in sorted(list_images(spec)):
        if taken[found.folder] == each:
            continue
        taken[found.folder] += 1
        path = project / "data" / found.folder / f"{taken[found.folder]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        opened(Found(found.image_id, "", found.path)).resize((14, 17), Image.Resampling.BICUBIC).save(path)
    rows = "".join(f"{i},{i},digit {i}\n" for i in range(10))
    (project / "classes.csv").write_text(f"folder,class_id,name\n{rows}")
