use rule train as train_crafter with:
    wildcard_constraints:
        benchmark="crafter",
    container:
        image("crafter")
    resources:
        **TO_TRAIN,


use rule evaluate as evaluate_crafter with:
    wildcard_constraints:
        benchmark="crafter",
    container:
        image("crafter")
    resources:
        **TO_EVALUATE,
