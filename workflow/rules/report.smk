rule pages:
    input:
        unpack(ask(PAGES.inputs)),
        code=code("pages"),
    output:
        front=PAGES.file("front", "{run}"),
        pages=[reported(page) for page in PAGES.names],
    log:
        "results/{run}/logs/pages.log",
    params:
        contents=PAGES.contents(),
        pairs=TABLES.main_pairs(),
    script:
        "../../scripts/pages.py"
