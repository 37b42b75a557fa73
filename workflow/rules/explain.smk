rule pairs:
    input:
        unpack(ask(EXPLAINING.pairs_inputs)),
        code=code("pairs"),
    output:
        pairs="results/{run}/pairs/{pairs}/{dataset}.parquet",
    log:
        "results/{run}/logs/pairs/{pairs}/{dataset}.log",
    priority: 1  # before what takes a GPU
    params:
        dataset=ask(RUN.dataset),
        shape=ask(EXPLAINING.paired_model, then=CHECKPOINTS.shape),
    script:
        "../../scripts/pairs.py"


rule score_tokens:
    input:
        unpack(ask(EXPLAINING.score_tokens_inputs)),
        code=code("score_tokens"),
    output:
        token_scores="results/{run}/token_scores/{model}/{dataset}/{role}{randomised}{precision}/{noise}/{shard}.parquet",
    log:
        "results/{run}/logs/score_tokens/{model}/{dataset}/{role}{randomised}{precision}/{noise}/{shard}.log",
    resources:
        **gpu_job("score_tokens", mem_mb=16_000, runtime=60),
        shards=RUN.shards,
    params:
        **WEIGHTS_KNOWN,
        shard=ask(RUN.shard),
        randomised=lambda wildcards: wildcards.randomised != "",
        precision=lambda wildcards: wildcards.precision.removeprefix("-") or "float32",
        roles=lambda wildcards: [wildcards.role],
        images=ask(EXPLAINING.scored_images),
        seed=SEED,
    script:
        "../../scripts/score_tokens.py"


rule explain:
    input:
        unpack(ask(EXPLAINING.explain_inputs)),
        code=code("explain"),
    output:
        maps="results/{run}/maps/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.parquet",
    log:
        "results/{run}/logs/explain/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.log",
    wildcard_constraints:
        method=one_of(EXPLAINING.spelled(TMI_METHODS)),
    resources:
        shards=RUN.shards,
    params:
        shard=ask(RUN.shard),
        roles=[],
        weights=ask(EXPLAINING.method),
        images=ask(EXPLAINING.entry, get="images"),
        seed=SEED,
        shape=ask(CHECKPOINTS.shape),
    script:
        "../../scripts/explain.py"


EXPLAINED = {  # parameters of what explains images by their pixels
    "shard": ask(RUN.shard),
    "method": ask(EXPLAINING.method),
    "roles": ask(EXPLAINING.entry, get="roles"),
    "images": ask(EXPLAINING.entry, get="images"),
    "seed": SEED,
    "dataset": ask(RUN.dataset),
}


rule attribute:
    input:
        unpack(ask(EXPLAINING.pixel_inputs)),
        unpack(ask(CHECKPOINTS.both)),
        code=code("attribute"),
    output:
        maps="results/{run}/maps/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.parquet",
    log:
        "results/{run}/logs/attribute/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.log",
    wildcard_constraints:
        method=one_of(EXPLAINING.spelled(MASKED_METHODS)),
    resources:
        **gpu_job("attribute", mem_mb=16_000, runtime=240),
        shards=RUN.shards,
    params:
        **EXPLAINED,
        **WEIGHTS_KNOWN,
        budget=ask(EXPLAINING.entry, get="budget"),
        precision=ask(EXPLAINING.entry, get="precision"),
    script:
        "../../scripts/attribute.py"


rule attribute_network:
    input:
        unpack(ask(EXPLAINING.pixel_inputs)),
        judge=ask(EXPLAINING.first_judge, then=EXPLAINING.judge_file),
        code=code("attribute_network", ask(EXPLAINING.first_judge, then=EXPLAINING.family)),
    output:
        maps="results/{run}/maps/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.parquet",
    log:
        "results/{run}/logs/attribute_network/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.log",
    wildcard_constraints:
        method=one_of(EXPLAINING.spelled(GRADIENT_METHODS)),
    resources:
        **gpu_job("attribute_network", mem_mb=16_000, runtime=60),
        shards=RUN.shards,
    params:
        **EXPLAINED,
        budget=ask(EXPLAINING.entry, get="budget"),
        rival=ask(EXPLAINING.first_judge, then=EXPLAINING.rival),
        shape=ask(CHECKPOINTS.shape),
    script:
        "../../scripts/attribute_network.py"


rule control:
    input:
        unpack(ask(EXPLAINING.pixel_inputs)),
        code=code("control"),
    output:
        maps="results/{run}/maps/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.parquet",
    log:
        "results/{run}/logs/control/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.log",
    wildcard_constraints:
        method=one_of(CONTROLS),
    resources:
        device="cpu",
        shards=RUN.shards,
    params:
        **EXPLAINED,
        shape=ask(CHECKPOINTS.shape),
    script:
        "../../scripts/control.py"


rule mean_mask:
    input:
        unpack(ask(EXPLAINING.pixel_inputs)),
        code=code("mean_mask"),
    output:
        maps="results/{run}/maps/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.parquet",
    log:
        "results/{run}/logs/mean_mask/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.log",
    wildcard_constraints:
        method=MEAN_MASK,
    resources:
        device="cpu",
        shards=RUN.shards,
    params:
        **EXPLAINED,
        shape=ask(CHECKPOINTS.shape),
    script:
        "../../scripts/mean_mask.py"


rule localise:
    input:
        unpack(ask(EXPLAINING.localise_inputs)),
        code=code("localise"),
    output:
        localised="results/{run}/contrast/{model}/{dataset}/{pairs}.parquet",
    log:
        "results/{run}/logs/localise/{model}/{dataset}/{pairs}.log",
    params:
        methods=ask(EXPLAINING.contrast_methods),
        dataset=ask(RUN.dataset),
        shape=ask(CHECKPOINTS.shape),
    script:
        "../../scripts/localise.py"


rule contrast:
    input:
        localised=EXPLAINING.localised(),
        code=code("contrast"),
    output:
        **table("contrast"),
        plot="results/{run}/tables/contrast.svg",
    log:
        "results/{run}/logs/contrast.log",
    params:
        rows=[key._asdict() for key in EXPLAINING.contrasts()],
    script:
        "../../scripts/contrast.py"


rule contrast_gallery:
    input:
        unpack(ask(EXPLAINING.contrast_gallery_inputs)),
        code=code("contrast_gallery"),
    output:
        picture="results/{run}/gallery/{model}/{dataset}/{method}-{pairs}.png",
    log:
        "results/{run}/logs/contrast_gallery/{model}/{dataset}/{method}-{pairs}.log",
    params:
        pictures=ask(EXPLAINING.contrast_pictures),
        dataset=ask(RUN.dataset),
        shape=ask(CHECKPOINTS.shape),
    script:
        "../../scripts/contrast_gallery.py"


rule train_judge:
    input:
        unpack(ask(EXPLAINING.train_judge_inputs)),
        code=code("train_judge"),
    output:
        weights="results/{run}/judges/{judge}.safetensors",
        card="results/{run}/judges/{judge}.json",
    log:
        "results/{run}/logs/train_judge/{judge}.log",
    threads: 2
    resources:
        **gpu_job("train_judge", mem_mb=16_000, runtime=120),
    params:
        judge=lambda wildcards: RUN.config.judges[wildcards.judge].given(),
        dataset=lambda wildcards: RUN.dataset(RUN.config.judges[wildcards.judge].data),
        shape=ask(EXPLAINING.judged_model, then=CHECKPOINTS.shape),
        seed=SEED,
    script:
        "../../scripts/train_judge.py"


rule faithfulness:
    input:
        unpack(ask(EXPLAINING.judged_by)),
        manifest=rules.manifest.output.manifest,
        maps="results/{run}/maps/{model}/{dataset}/{method}/{target}-vs-{against}/{shard}.parquet",
        classes=ask(RUN.class_list),
        checkpoints=lambda wildcards: marked(CHECKPOINTS.shape_files([wildcards.model])),
        code=code("faithfulness", ask(EXPLAINING.family)),
    output:
        curves="results/{run}/curves/{model}/{dataset}/{method}/{target}-vs-{against}/{judge}/{shard}.parquet",
    log:
        "results/{run}/logs/faithfulness/{model}/{dataset}/{method}/{target}-vs-{against}/{judge}/{shard}.log",
    resources:
        **gpu_job("faithfulness", mem_mb=16_000, runtime=240),
    params:
        dataset=ask(RUN.dataset),
        judge=lambda wildcards: wildcards.judge,
        shape=ask(CHECKPOINTS.shape),
        curves=ask(EXPLAINING.faithfulness, get="curves"),
        steps=ask(EXPLAINING.faithfulness, get="steps"),
        upsample=ask(EXPLAINING.faithfulness, get="upsample"),
        seed=SEED,
        rival=ask(EXPLAINING.rival),
        precision=ask(EXPLAINING.judge_precision),
        vqvae_checkpoint=ask(EXPLAINING.judge_known, part="vqvae"),
        var_checkpoint=ask(EXPLAINING.judge_known, part="var"),
    script:
        "../../scripts/faithfulness.py"


rule explanation:
    input:
        unpack(ask(EXPLAINING.explanation_inputs)),
        published=PUBLISHED,
        code=code("explanation"),
    output:
        **table("explanation"),
        plot="results/{run}/tables/explanation.svg",
    log:
        "results/{run}/logs/explanation.log",
    params:
        rows=EXPLAINING.row_params(),
    script:
        "../../scripts/explanation.py"


rule gallery:
    input:
        unpack(ask(EXPLAINING.gallery_inputs)),
        code=code("gallery"),
    output:
        picture="results/{run}/gallery/{model}/{dataset}.png",
    log:
        "results/{run}/logs/gallery/{model}/{dataset}.log",
    params:
        pictures=ask(EXPLAINING.pictures),
        dataset=ask(RUN.dataset),
        shape=ask(CHECKPOINTS.shape),
        seed=SEED,
    script:
        "../../scripts/gallery.py"
