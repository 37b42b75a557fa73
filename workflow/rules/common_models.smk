@functools.cache
def weights_sha256(model, part):
    """The SHA-256 of a checkpoint: as the config says, else of the file, None where there is none yet."""
    entry = config["models"][model]
    return entry.get("sha256", {}).get(part) or file_sha256(entry[part])


def ancestry(model):
    """The models that a model is made from, itself first: what it was fine-tuned from, and who trained its VQ-VAE."""
    chain = [model]
    while "finetune" in config["models"][chain[-1]]:
        chain.append(config["models"][chain[-1]]["finetune"])
    return list(dict.fromkeys([*chain, vqvae_owner(config["models"], model)]))


def vqvae_of(model):
    """The VQ-VAE that a model uses, as tokens/ names it."""
    owner = vqvae_owner(config["models"], model)
    if owner in VQVAES:
        return owner
    return spell_vqvae(config["models"][owner]["vqvae"], weights_sha256(owner, "vqvae"))


def model_of(wildcards):
    """A model that has the VQ-VAE of the wildcards and is evaluated on, or trained with, their data set."""
    if wildcards.vqvae in config["models"]:
        return wildcards.vqvae
    models = [config["classifiers"][c]["model"] for dataset, c in PAIRS if dataset == wildcards.dataset]
    models += [c["model"] for c in config["classifiers"].values() if c.get("calibrate") == wildcards.dataset]
    models += [
        m
        for entry in config.get("smoothing", []) + config.get("explain", [])
        if wildcards.dataset in entry["datasets"]
        for m in entry["models"]
    ]
    models += [
        config["classifiers"][entry["classifier"]]["model"]
        for entry in config.get("incremental", [])
        if wildcards.dataset in (entry["data"], entry["test"]) and entry["classifier"] not in RIVALS
    ]
    for name in FINETUNED:
        settings = finetuning(config["models"], name)
        if wildcards.dataset in (settings["data"], settings.get("validate")):
            models.append(name)
    return next(name for name in models if vqvae_of(name) == wildcards.vqvae)


def weights(model, part):
    """The file of a model's weights. A checkpoint that is not there is left out, so that a dry run can do without.

    It is ancient, since its content counts (see checkpoint) and not its time; but for one that will be downloaded, since
    Snakemake does not look whether the parameters of what depends on it have changed.
    """
    holder = vqvae_owner(config["models"], model) if part == "vqvae" else model
    entry = config["models"][holder]
    if part not in entry:
        return f"{RUN}/models/{holder}/{part}.safetensors"
    if entry[part] in HUB and file_sha256(entry[part]) != weights_sha256(holder, part):
        return entry[part]
    return ancient(entry[part]) if os.path.exists(entry[part]) else []


def checkpoint(model, part):
    """What is known of a checkpoint before it is read; None for weights that are made here, whose card tells."""
    holder = vqvae_owner(config["models"], model) if part == "vqvae" else model
    entry = config["models"][holder]
    if part not in entry:
        return None
    known = {
        "sha256": weights_sha256(holder, part),
        "patch_nums": patch_nums(config["models"], holder) if "patch_nums" in entry else None,
    }
    if shape := architecture(config["models"], holder):
        known |= {"patch_nums": shape["vqvae"]["patch_nums"], "architecture": shape[part]}
    if part == "vqvae":
        known["norm_groups"] = entry.get("norm_groups", PUBLIC_NORM_GROUPS)
    return known


def encode_batch(wildcards):
    """How many images are encoded or tokenised at a time: fewer of large ones."""
    return images_at_once(image_size(config["models"], model_of(wildcards)) or PUBLIC_IMAGE_SIZE)


def num_scales(model):
    return len(patch_nums(config["models"], model))


def training(wildcards):
    return config["models"][wildcards.model]["train"]


def training_manifest(wildcards):
    return f"{RUN}/datasets/{training(wildcards)['data']}.parquet"


def training_tokens(wildcards):
    """Tokens of the training images: all samples, and of each all shards."""
    train = training(wildcards)
    return token_files(wildcards.model, train["data"], spell_sigma(train["var"].get("sigma")), train["var"]["samples"])


def token_files(model, dataset, sigma, samples):
    """The token files of a data set: one sample after the other, of each all shards."""
    folder = f"tokens/{vqvae_of(model)}/{dataset}"
    return [file for i in range(samples) for file in shards_of(f"{folder}/{spell_noise(sigma, i)}")]


def finetune_inputs(wildcards):
    """What a model is fine-tuned from and on: its base, its VQ-VAE, tokens, and the images that it is validated on."""
    model = wildcards.model
    settings = finetuning(config["models"], model)
    files = {
        "manifest": f"{RUN}/datasets/{settings['data']}.parquet",
        "tokens": token_files(model, settings["data"], spell_sigma(settings.get("sigma")), settings["samples"]),
        "vqvae": weights(model, "vqvae"),
        "var": weights(config["models"][model]["finetune"], "var"),
    }
    if dataset := settings.get("validate"):
        files["validation_manifest"] = f"{RUN}/datasets/{dataset}.parquet"
        files["validation_tokens"] = token_files(model, dataset, "", 1)
        files["validation_classes"] = config["datasets"][dataset].get("classes", [])
    return files


def shape_of(model):
    """A model's shape; where only the tensors tell, the files and what they do not show."""
    start = config["models"][origin(config["models"], model)]
    return architecture(config["models"], model) or {
        "files": [start["vqvae"], start["var"]],
        **{k: start[k] for k in ("patch_nums", "norm_groups") if k in start},
    }


def shapes(wildcards=None):
    """model -> its shape, of all models evaluated."""
    return {name: shape_of(name) for name in MODELS}


def shape_files_of(models):
    """The checkpoints that shapes are read from, as far as no architecture is named."""
    unnamed = {origin(config["models"], name) for name in models if not architecture(config["models"], name)}
    files = [weights(name, part) for name in sorted(unnamed) for part in ("vqvae", "var")]
    return [file for file in files if file]


def shape_files(wildcards):
    """Those of all models evaluated."""
    return shape_files_of(MODELS)
