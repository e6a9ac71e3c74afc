# From finished runs to tables, figures and the report. Each rule has the modules that it runs as inputs, so that
# editing one redoes what it makes and no more.
COLLECTED = [
    "evaluations.csv",
    "final_evaluations.csv",
    "coefficients.csv",
    "provenance.csv",
    "experiment.json",
]


rule collect:
    input:
        runs=lambda wildcards: run_files(EXPERIMENTS[wildcards.experiment]),
        code=modules("collect"),
    output:
        [f"results/collected/{{experiment}}/{name}" for name in COLLECTED],
    log:
        "logs/collect/{experiment}.log",
    params:
        title=lambda wildcards: EXPERIMENTS[wildcards.experiment].title,
        description=lambda wildcards: EXPERIMENTS[wildcards.experiment].description,
        score_rule=lambda wildcards: EXPERIMENTS[wildcards.experiment].score_rule,
        runs=lambda wildcards: [
            f"results/{run.directory}"
            for run in EXPERIMENTS[wildcards.experiment].runs()
        ],
    shell:
        "python -m analysis.collect --name {wildcards.experiment:q} --title={params.title:q}"
        " --description={params.description:q} --score-rule {params.score_rule:q}"
        " --out results/collected/{wildcards.experiment:q} {params.runs:q} > {log:q} 2>&1"


rule curves:
    input:
        collected=rules.collect.output,
        references=REFERENCES,
        code=modules("curves"),
    output:
        "results/collected/{experiment}/curves.csv",
    log:
        "logs/curves/{experiment}.log",
    shell:
        "python -m analysis.curves --collected results/collected/{wildcards.experiment:q} --out {output:q} > {log:q} 2>&1"


rule plot_curves:
    input:
        table=rules.curves.output,
        code=modules("plots"),
    output:
        report(
            multiext("results/figures/{experiment}", ".png", ".svg"),
            category="{experiment}",
            labels={"result": "learning curves"},
            caption="../report/curves.rst",
        ),
    log:
        "logs/plot_curves/{experiment}.log",
    shell:
        "python -m analysis.plots curves --table {input.table:q} --out results/figures/{wildcards.experiment:q} > {log:q} 2>&1"


rule profiles:
    input:
        collected=rules.collect.output,
        references=REFERENCES,
        code=modules("profiles"),
    output:
        "results/collected/{experiment}/profile.csv",
    log:
        "logs/profiles/{experiment}.log",
    shell:
        "python -m analysis.profiles --collected results/collected/{wildcards.experiment:q} --out {output:q} > {log:q} 2>&1"


rule plot_profile:
    input:
        table=rules.profiles.output,
        code=modules("plots"),
    output:
        report(
            multiext("results/figures/{experiment}_profile", ".png", ".svg"),
            category="{experiment}",
            labels={"result": "performance profile"},
            caption="../report/profile.rst",
        ),
    log:
        "logs/plot_profile/{experiment}.log",
    shell:
        "python -m analysis.plots profile --table {input.table:q}"
        " --out results/figures/{wildcards.experiment:q}_profile > {log:q} 2>&1"


rule plot_coefficients:
    input:
        table="results/collected/{experiment}/coefficients.csv",
        code=modules("plots"),
    output:
        report(
            multiext("results/figures/{experiment}_coefficients", ".png", ".svg"),
            category="{experiment}",
            labels={"result": "loss weights"},
            caption="../report/coefficients.rst",
        ),
    log:
        "logs/plot_coefficients/{experiment}.log",
    shell:
        "python -m analysis.plots coefficients --table {input.table:q}"
        " --out results/figures/{wildcards.experiment:q}_coefficients > {log:q} 2>&1"


rule table:
    input:
        collected=rules.collect.output,
        references=REFERENCES,
        code=modules("tables"),
    output:
        report(
            "results/tables/{experiment}.csv",
            category="{experiment}",
            labels={"result": "scores"},
            caption="../report/scores.rst",
        ),
        multiext("results/tables/{experiment}", ".md", ".tex"),
    log:
        "logs/table/{experiment}.log",
    shell:
        "python -m analysis.tables --collected results/collected/{wildcards.experiment:q}"
        " --out results/tables/{wildcards.experiment:q} > {log:q} 2>&1"


rule report:
    input:
        products=[
            path
            for experiment in EXPERIMENTS.values()
            for path in products(experiment)
        ],
        verdicts="results/tables/verdicts.csv",
        code=modules("report"),
        template=ROOT / "analysis" / "templates" / "report.html.jinja",
    output:
        "results/report.html",
    log:
        "logs/report.log",
    params:
        experiments=list(EXPERIMENTS),
        command=COMMAND,
    shell:
        "python -m analysis.report --results results --command {params.command:q} --out {output:q}"
        " {params.experiments:q} > {log:q} 2>&1"
