use rule train as train_metaworld with:
    wildcard_constraints:
        benchmark="metaworld",
    container:
        image("metaworld")
    resources:
        **TO_TRAIN,


use rule evaluate as evaluate_metaworld with:
    wildcard_constraints:
        benchmark="metaworld",
    container:
        image("metaworld")
    resources:
        **TO_EVALUATE,
