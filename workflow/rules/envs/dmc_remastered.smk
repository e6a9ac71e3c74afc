use rule train as train_dmc_remastered with:
    wildcard_constraints:
        benchmark="dmc_remastered",
    container:
        image("dmc_remastered")
    resources:
        **needs(mem_mb=2000),


use rule evaluate as evaluate_dmc_remastered with:
    wildcard_constraints:
        benchmark="dmc_remastered",
    container:
        image("dmc_remastered")
    resources:
        **needs(mem_mb=2000),
