TARGETS = [*TABLES.targets(), *EXPLAINING.targets()]
PAGES = Pages(RUN, TARGETS)


rule page:
    input:
        unpack(ask(PAGES.page_inputs)),
        code=code("page"),
    output:
        page=report(
            "results/{run}/report/{page}.html",
            category=ask(PAGES.category),
            labels=ask(PAGES.labels),
            caption="../report/page.rst",
        ),
    log:
        "results/{run}/logs/page/{page}.log",
    wildcard_constraints:
        page=one_of(PAGES.names),
    params:
        title=ask(PAGES.title),
        caption=ask(PAGES.caption),
    script:
        "../../scripts/page.py"


rule front:
    input:
        unpack(ask(PAGES.front_inputs)),
        code=code("front"),
    output:
        front="results/{run}/report/front.html",
    log:
        "results/{run}/logs/front.log",
    params:
        listed=PAGES.listed(),
        plotted=[PAGES.title(page) for page in PAGES.plotted()],
        pairs=TABLES.main_pairs(),
    script:
        "../../scripts/front.py"
