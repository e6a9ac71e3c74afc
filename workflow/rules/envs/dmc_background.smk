use rule train as train_dmc_background with:
    wildcard_constraints:
        benchmark="dmc_background",
    container:
        image("dmc_background")
    resources:
        **TO_TRAIN,


use rule evaluate as evaluate_dmc_background with:
    wildcard_constraints:
        benchmark="dmc_background",
    container:
        image("dmc_background")
    resources:
        **TO_EVALUATE,
