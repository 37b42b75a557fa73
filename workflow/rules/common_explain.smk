EXPLANATIONS = explanations(config)
TMI_METHODS = ["tmi", "tmi_flat", "tmi_steep", "tmi_last", "tmi_randomised"]
MASKED_METHODS = ["lime", "kernel_shap", "occlusion"]
GRADIENT_METHODS = ["gradient_shap", "saliency", "grad_cam"]
CONTROLS = ["random", "centre", "edge"]


def explanation(wildcards):
    """The method and the entry of `explain` that the wildcards of a file of maps are of."""
    names = ("dataset", "model", "method", "target", "against")
    return EXPLANATIONS[tuple(wildcards[name] for name in names)]


def explain_entry(wildcards):
    return explanation(wildcards)[1]


def entries_of(wildcards):
    """The entries of `explain` that have the data set and the model of the wildcards."""
    return [
        entry
        for entry in config.get("explain", [])
        if wildcards.dataset in entry["datasets"] and wildcards.model in entry["models"]
    ]


def explained_count(wildcards):
    """How many images have their tokens scored: the most that an entry asks for; None for all."""
    counts = [entry.get("images") for entry in entries_of(wildcards)]
    return None if None in counts else max(counts)


def class_scores(wildcards, roles):
    """The shard's clean scores of all classes, where they tell which classes the roles stand for; else nothing."""
    if not any(role == "prediction" or role.startswith("runner_up") for role in roles):
        return []
    folder = f"scores/{wildcards.model}/{wildcards.dataset}/all/scales{num_scales(wildcards.model)}/clean"
    return f"{RUN}/{folder}/{wildcards.shard}.parquet"


def token_scores_inputs(wildcards):
    """Tokens of one sample and the model; labels, and the scores that tell the role's class."""
    w = wildcards
    return {
        "manifest": f"{RUN}/datasets/{w.dataset}.parquet",
        "tokens": f"{RUN}/tokens/{vqvae_of(w.model)}/{w.dataset}/{w.noise}/{w.shard}.parquet",
        "scores": class_scores(w, [w.role]),
        "vqvae": weights(w.model, "vqvae"),
        "var": weights(w.model, "var"),
    }


def tmi_inputs(wildcards):
    """log p of the tokens under both classes, one file per sample, and what was computed before them."""
    method, entry = explanation(wildcards)
    w, vqvae = wildcards, vqvae_of(wildcards.model)
    noises = [spell_noise(spell_sigma(entry.get("sigma")), i) for i in range(entry["samples"])]
    weights_kind = "-randomised" if method == "tmi_randomised" else ""
    files = {
        name: [
            f"{RUN}/token_scores/{w.model}/{w.dataset}/{role}{weights_kind}/{noise}/{w.shard}.parquet"
            for noise in noises
        ]
        for name, role in zip(("target", "against"), explained_roles(entry))
    }
    return files | {
        "manifest": f"{RUN}/datasets/{w.dataset}.parquet",
        "features": [f"{RUN}/features/{vqvae}/{w.dataset}/{w.shard}.parquet"],
        "tokens": [f"{RUN}/tokens/{vqvae}/{w.dataset}/{noise}/{w.shard}.parquet" for noise in noises],
        "checkpoints": shape_files_of([w.model]),
    }


def image_inputs(wildcards):
    """What tells which images, and which of their classes, a map that is made from pixels explains."""
    return {
        "manifest": f"{RUN}/datasets/{wildcards.dataset}.parquet",
        "scores": class_scores(wildcards, explained_roles(explain_entry(wildcards))),
        "checkpoints": shape_files_of([wildcards.model]),
    }


def attribute_inputs(wildcards):
    model = wildcards.model
    return image_inputs(wildcards) | {"vqvae": weights(model, "vqvae"), "var": weights(model, "var")}


def judged_model(name):
    """A model that a judge judges, whose images have the size of its own."""
    return next(
        model
        for entry in config["explain"]
        if name in entry.get("faithfulness", {}).get("judges", [])
        for model in entry["models"]
    )


def judge_file(name):
    """The weights of a judge, or of a rival that judges."""
    return baseline_weights(RIVALS[name]["baseline"]) if name in RIVALS else f"{RUN}/judges/{name}.safetensors"


def judging_rival(name):
    """A rival that judges: its baseline, what it scores with, and what its public weights are."""
    if name not in RIVALS:
        return None
    entry = RIVALS[name]
    known = {"baseline": BASELINES[entry["baseline"]], "scoring": scoring(entry["stages"][0])}
    return known | {"public_sha256": public_sha256_of(entry["baseline"])}


def first_judge(wildcards):
    """The judge whose gradients explain."""
    return explain_entry(wildcards)["faithfulness"]["judges"][0]


def judge_code(script, judge):
    """The library files of a rule in which a judge, that judge(wildcards) names, may be a rival."""
    own = code(script)
    return lambda wildcards: own + (family_code(family_of(name)) if (name := judge(wildcards)) in RIVALS else [])


def attribute_network_inputs(wildcards):
    return image_inputs(wildcards) | {"judge": judge_file(first_judge(wildcards))}


def map_file(key, shard):
    """The file of maps of a key of EXPLANATIONS."""
    dataset, model, method, target, against = key
    return f"{RUN}/maps/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.parquet"


def maps():
    """All files of maps."""
    return [map_file(key, shard) for key in EXPLANATIONS for shard in range(SHARDS)]


def faithfulness_inputs(wildcards):
    """The maps, the images, and the judge: the explained model, or another network."""
    w = wildcards
    judge = {"vqvae": weights(w.model, "vqvae"), "var": weights(w.model, "var")}
    if w.judge != "varc":
        judge = {"judge": judge_file(w.judge)}
    return judge | {
        "manifest": f"{RUN}/datasets/{w.dataset}.parquet",
        "maps": f"{RUN}/maps/{w.model}/{w.dataset}/{w.method}/{w.target}-vs-{w.against}/{w.shard}.parquet",
        "classes": config["datasets"][w.dataset].get("classes", []),
        "checkpoints": shape_files_of([w.model]),
    }


def judge_checkpoint(wildcards, part):
    """What is known of the judging model's checkpoint; nothing where another network judges."""
    return checkpoint(wildcards.model, part) if wildcards.judge == "varc" else None


def entry_curves(entry):
    """The curves that an entry asks for, each with its substrate."""
    return [(c, ground) for c in ("insertion", "deletion") for ground in entry["faithfulness"][c]]


def curve_files(key, judge):
    dataset, model, method, target, against = key
    return shards_of(f"curves/{model}/{dataset}/{method}/{target}-vs-{against}/{judge}")


def explanation_rows():
    """What tables/explanation.csv has: key of EXPLANATIONS, judge, curve and substrate."""
    return [
        (key, judge, curve, substrate)
        for key, (_, entry) in EXPLANATIONS.items()
        if "faithfulness" in entry
        for judge in ["varc", *entry["faithfulness"]["judges"]]
        for curve, substrate in entry_curves(entry)
    ]


def calibrated_scores(dataset, model):
    """The calibration data set of a one-stage classifier of the model on the data set, and its clean scores."""
    own = config["classifiers"]
    for name in (c for d, c in CALIBRATED if d == dataset and c in own and own[c]["model"] == model):
        calibration = own[name]["calibrate"]
        return calibration, full_scores(model, calibration, "", 1)
    return None, []


def is_control(other, key):
    """Whether a key of EXPLANATIONS is of the random maps of the same images and targets; `against` changes no curve."""
    images = [EXPLANATIONS[found][1].get("images") for found in (other, key)]
    return other[2] == "random" != key[2] and other[:2] + other[3:4] == key[:2] + key[3:4] and images[0] == images[1]


def explanation_files(wildcards):
    """Per row of the table: its curves and maps, those of its control, and scores that calibrate the judge."""
    files = {}
    rows = explanation_rows()
    for i, (key, judge, *kind) in enumerate(rows):
        dataset, model, _, target, against = key
        files[f"curves{i}"] = curve_files(key, judge)
        files[f"maps{i}"] = [map_file(key, shard) for shard in range(SHARDS)]
        random = [other for other, *rest in rows if rest == [judge, *kind] and is_control(other, key)]
        if random:
            files[f"random{i}"] = curve_files(random[0], judge)
        tmi = (dataset, model, "tmi", target, against)
        if tmi in EXPLANATIONS and tmi != key:
            files[f"tmi{i}"] = [map_file(tmi, shard) for shard in range(SHARDS)]
        calibration, scores = calibrated_scores(dataset, model)
        if scores:
            files |= {
                f"calibration_manifest{i}": f"{RUN}/datasets/{calibration}.parquet",
                f"calibration_scores{i}": scores,
            }
    return files


def explanation_params(wildcards):
    names = ("dataset", "model", "method", "target", "against", "judge", "curve", "substrate")
    return [dict(zip(names, (*key, *row))) for key, *row in explanation_rows()]


def gallery_inputs(wildcards):
    """Images, scores of all classes, and tokens under label, prediction, best wrong class and no class."""
    w = wildcards
    roles = {
        "label": "label",
        "prediction": "prediction",
        "unconditional": "unconditional",
        "wrong": "runner_up-of-label",
    }
    return {
        "manifest": f"{RUN}/datasets/{w.dataset}.parquet",
        "scores": full_scores(w.model, w.dataset, "", 1),
        "checkpoints": shape_files_of([w.model]),
        "classes": config["datasets"][w.dataset].get("classes", []),
        **{name: shards_of(f"token_scores/{w.model}/{w.dataset}/{role}/clean") for name, role in roles.items()},
    }


def galleries():
    """The pictures of all entries that ask for them."""
    return sorted(
        {
            f"{RUN}/gallery/{model}/{dataset}.png"
            for entry in config.get("explain", [])
            if "gallery" in entry
            for model in entry["models"]
            for dataset in entry["datasets"]
        }
    )


def explanation_tables():
    """The tables, plots and pictures of `explain`."""
    names = ["explanation.csv", "explanation.svg"] if explanation_rows() else []
    return [f"{RUN}/tables/{name}" for name in names] + galleries()
