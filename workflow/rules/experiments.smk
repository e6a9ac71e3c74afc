# Each experiment is a target of its own name. Its runs are inputs too: Snakemake does not miss an intermediate file
# that was removed, a target that was removed it does.
for experiment in EXPERIMENTS.values():

    rule:
        name:
            experiment.name
        input:
            run_files(experiment),
            products(experiment),


rule all:
    input:
        [run_files(experiment) for experiment in EXPERIMENTS.values()],
        ["results/report.html"] if EXPERIMENTS else [],
