# What needs the published numbers: the paper's Atari 100k table recomputed, and a verdict on each number.
PUBLISHED = sorted(
    str(path) for path in (ROOT / "results" / "published").glob("*.[cy]*")
)


# From the authors' released curves alone: no run is needed.
rule check_published:
    input:
        published=PUBLISHED,
        score_rules=ROOT / "analysis/score_rules.yaml",
        code=modules("check_published"),
    output:
        multiext("results/tables/check_published", ".csv", ".md", ".tex"),
        multiext("results/figures/check_published_curve", ".png", ".svg"),
        multiext("results/figures/check_published_profile", ".png", ".svg"),
        games="results/tables/check_published_games.csv",
        methods="results/tables/published_methods.csv",
    log:
        "logs/check_published.log",
    shell:
        "python -m analysis.check_published --results results 2>&1 | tee {log:q}"


rule verdicts:
    input:
        collected=expand(
            "results/collected/{name}/{file}", name=EXPERIMENTS, file=COLLECTED
        ),
        published=PUBLISHED,
        score_rules=ROOT / "analysis/score_rules.yaml",
        code=modules("verdict_table"),
    output:
        report("results/tables/verdicts.csv", labels={"result": "verdicts"}),
        multiext("results/tables/verdicts", ".md", ".tex"),
    log:
        "logs/verdicts.log",
    params:
        collected=[f"results/collected/{name}" for name in EXPERIMENTS],
    shell:
        "python -m analysis.verdict_table --out results/tables/verdicts {params.collected:q} > {log:q} 2>&1"
