# The paper's Atari 100k table recomputed from the authors' released curves: no run is needed.
rule check_published:
    input:
        data=expand(
            ROOT / "results" / "published" / "{name}",
            name=[
                "aggregates.csv",
                "atari100k_curves.csv",
                "reference_scores.csv",
                "schema.yaml",
                "task_scores.csv",
            ],
        ),
        rules=ROOT / "analysis" / "score_rules.yaml",
        code=[
            ROOT / "analysis" / f"{name}.py"
            for name in [
                "bootstrap",
                "check_published",
                "published",
                "published_figures",
                "score_rules",
                "scores",
            ]
        ],
    output:
        tables=multiext("results/tables/check_published", ".csv", ".md", ".tex"),
        games="results/tables/check_published_games.csv",
        methods="results/tables/published_methods.csv",
        curve=multiext("results/figures/check_published_curve", ".png", ".svg"),
        profile=multiext("results/figures/check_published_profile", ".png", ".svg"),
    log:
        "logs/check_published.log",
    shell:
        "python -m analysis.check_published --results results 2>&1 | tee {log:q}"
