# Each experiment is a target of its own name.
for experiment in EXPERIMENTS.values():

    rule:
        name:
            experiment.name
        input:
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
        "results/report.html",
