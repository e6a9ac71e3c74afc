use rule train as train_metaworld with:
    wildcard_constraints:
        benchmark="metaworld",
    container:
        image("metaworld")
    resources:
        **needs(mem_mb=2000),


use rule evaluate as evaluate_metaworld with:
    wildcard_constraints:
        benchmark="metaworld",
    container:
        image("metaworld")
    resources:
        **needs(mem_mb=2000),
