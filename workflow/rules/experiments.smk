# Each experiment is a target of its own name. Its runs are inputs too: Snakemake does not miss an intermediate file
# that was removed, a target that was removed it does.
for experiment in EXPERIMENTS.values():

    rule:
        name:
            experiment.name
        input:
            run_files(experiment),
            products(experiment),


# A planned experiment can be asked for too, and says what it lacks.
for name, problem in REFUSED.items():

    rule:
        name:
            name
        input:
            refuse(problem),


rule all:
    input:
        [run_files(experiment) for experiment in EXPERIMENTS.values()],
        "results/report.html",
