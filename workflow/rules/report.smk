TARGETS = [*TABLES.targets(), *EXPLAINING.targets()]
PAGES = Pages(RUN, TARGETS)


def reported(page):
    """A page that the report lists by what it says."""
    shown = {"category": PAGES.category(page), "labels": {"shows": PAGES.title(page)}}
    return report(PAGES.file(page, "{run}"), caption=os.path.abspath(PAGES.caption(page)), **shown)


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
