use rule train as train_dmc_remastered with:
    wildcard_constraints:
        benchmark="dmc_remastered",
    container:
        image("dmc_remastered")
    resources:
        **TO_TRAIN,


use rule evaluate as evaluate_dmc_remastered with:
    wildcard_constraints:
        benchmark="dmc_remastered",
    container:
        image("dmc_remastered")
    resources:
        **TO_EVALUATE,
