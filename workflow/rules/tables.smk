def evaluated(key):
    """dataset -> its config entry, or classifier -> its config entry, of all pairs that are evaluated."""
    table = config[key]
    names = {pair[0 if key == "datasets" else 1] for pair in PAIRS}
    return {name: table[name] for name in sorted(names)}


def architectures():
    """model -> (VQ-VAE, VAR) settings that give its shape, and its training data set, of all models evaluated."""
    names = {entry["model"] for entry in evaluated("classifiers").values()}
    shapes = {}
    for name in sorted(names):
        train = config["models"][name]["train"]
        shapes[name] = {"vqvae": train["vqvae"], "var": train["var"]}
    return shapes


def all_class_lists(wildcards):
    return sorted({entry["classes"] for entry in evaluated("datasets").values() if "classes" in entry})


rule gflops:
    input:
        classes=all_class_lists,
        code=code("gflops"),
    output:
        csv=report(RUN + "/tables/gflops.csv", category="Tables", caption="../report/gflops.rst"),
        markdown=RUN + "/tables/gflops.md",
    log:
        f"{RUN}/logs/gflops.log",
    params:
        pairs=PAIRS,
        datasets=evaluated("datasets"),
        classifiers=evaluated("classifiers"),
        architectures=architectures(),
    script:
        "../../scripts/gflops.py"


rule accuracy:
    input:
        gflops=rules.gflops.output.csv,
        predictions=[f"{RUN}/predictions/{classifier}/{dataset}.parquet" for dataset, classifier in PAIRS],
        code=code("accuracy"),
    output:
        csv=report(RUN + "/tables/accuracy.csv", category="Tables", caption="../report/accuracy.rst"),
        markdown=RUN + "/tables/accuracy.md",
    log:
        f"{RUN}/logs/accuracy.log",
    params:
        pairs=PAIRS,
        models={name: entry["model"] for name, entry in evaluated("classifiers").items()},
    script:
        "../../scripts/accuracy.py"


rule pruning:
    input:
        manifests=[f"{RUN}/datasets/{dataset}.parquet" for dataset, _ in full_pairs()],
        scores=[
            file
            for dataset, model in full_pairs()
            for file in shards_of(f"scores/{model}/{dataset}/all/scales{num_scales(model)}/clean")
        ],
        code=code("pruning"),
    output:
        csv=report(RUN + "/tables/pruning.csv", category="Tables", caption="../report/pruning.rst"),
        markdown=RUN + "/tables/pruning.md",
        plot=report(RUN + "/tables/pruning.svg", category="Tables", caption="../report/pruning_plot.rst"),
    log:
        f"{RUN}/logs/pruning.log",
    params:
        pairs=full_pairs(),
        architectures=architectures(),
    script:
        "../../scripts/pruning.py"
