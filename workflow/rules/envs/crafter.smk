use rule train as train_crafter with:
    wildcard_constraints:
        benchmark="crafter",
    container:
        image("crafter")
    resources:
        **needs(mem_mb=2000),


use rule evaluate as evaluate_crafter with:
    wildcard_constraints:
        benchmark="crafter",
    container:
        image("crafter")
    resources:
        **needs(mem_mb=2000),
